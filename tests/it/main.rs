//! One test binary: one link, one place for helpers.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::disallowed_methods,
    clippy::print_stderr,
    clippy::too_many_lines,
    clippy::semicolon_if_nothing_returned,
    clippy::cast_possible_wrap,
    clippy::assigning_clones,
    reason = "a test may stop here"
)]

mod agents;
mod agents_real;
mod app_after;
mod app_aim;
mod app_asks;
mod app_boxes;
mod app_changes;
mod app_config;
mod app_files;
mod app_follow;
mod app_gauges;
mod app_honest;
mod app_hubs;
mod app_hunks;
mod app_inbox;
mod app_keyboard;
mod app_keys;
mod app_lost;
mod app_operator;
mod app_presets;
mod app_roles;
mod app_rules;
mod app_scroll;
mod app_support;
mod app_timeline;
mod app_typing;
mod app_update;
mod app_views;
mod app_walk;
mod app_whatever;
mod bad_input_bytes;
mod bad_input_disk;
mod bad_input_verbs;
mod base;
mod beyond;
mod cli_apply;
mod cli_asks;
mod cli_audit;
mod cli_away;
mod cli_cut;
mod cli_diff;
mod cli_egress;
mod cli_first;
mod cli_hub;
mod cli_image;
mod cli_many;
mod cli_net;
#[cfg(feature = "otel")]
mod cli_otel;
mod cli_plain;
mod cli_programs;
mod cli_proxy;
mod cli_ruled;
mod cli_rules;
mod cli_secrets;
mod cli_snapshot;
mod cli_stats;
mod cli_timeline;
mod compress;
mod crash_hub;
mod crash_shim;
mod crash_support;
mod crash_typing;
mod docker_adopt;
mod docker_asks;
mod docker_between;
mod docker_gate;
mod docker_gpus;
mod docker_late;
mod docker_life;
mod docker_meter;
mod docker_same;
mod docker_stage;
mod docker_status;
mod docker_strange;
mod documents;
mod driver_suite;
mod engine_adopt;
mod engine_files;
mod engine_gauges;
mod engine_lease;
mod engine_life;
mod engine_restart;
mod engine_scale;
mod engine_snapshots;
mod engine_support;
mod files_cli;
mod files_docker;
mod files_grades;
mod files_local;
mod gateway_asks;
mod gateway_exec;
mod gateway_main;
mod gateway_shell;
mod gateway_sandboxes;
mod gateway_stage;
mod gateway_terminals;
#[cfg(feature = "tls")]
mod gateway_tls;
mod gateway_wire;
mod given;
mod gpus;
mod hostile_local;
mod hostile_processes;
mod hostile_weak;
mod hub_link;
mod hub_service;
mod hub_strange;
mod hub_support;
mod hubs_console;
mod hubs_many;
mod image_forms;
mod layers;
mod links;
mod local_apply;
mod local_diff;
mod local_doing;
mod local_image;
mod local_life;
mod local_programs;
mod local_paths;
mod local_shelf;
mod local_stage;
mod local_syscalls;
mod local_tools;
mod local_view;
mod oci;
mod other_user;
mod program;
mod pty;
mod relay;
mod remote_refused;
mod remote_roles;
mod remote_support;
mod remote_team;
mod remote_watch;
mod runtime_suite;
mod runtimes;
mod session_history;
mod session_host;
mod session_journal;
mod session_place;
mod session_replay;
mod shim_process;
mod skip;
mod source;
mod ssh_context;
mod ssh_support;
mod status_console;
mod status_local;
mod syscalls_cli;
mod team_support;
mod tui_attach;
mod tui_attached;
mod tui_demo;
mod tui_lane;
mod tui_pictures;
mod tui_terminal;
mod tui_typing;
mod tui_views;
mod ui_draw;
mod vt_attributes;
mod vt_facts;
mod vt_history;
mod vt_keys;
mod vt_largest;
mod vt_margins;
mod vt_programs;
mod vt_screen;
mod vt_view;
mod wire_change;
mod wire_convert;
