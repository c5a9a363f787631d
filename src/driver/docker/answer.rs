//! What an engine answers, as far as it is read. Everything is optional: engines differ, and one may be
//! none at all.

use std::{collections::BTreeMap, path::Path};

use serde::Deserialize;

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Message {
    pub message: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct Created {
    pub id: String,
    pub warnings: Option<Vec<String>>,
}

/// One line of a list of containers.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct Listed {
    pub id: String,
    pub names: Option<Vec<String>>,
    pub image: String,
    pub state: String,
    /// Seconds since 1970.
    pub created: i64,
    pub labels: Option<BTreeMap<String, String>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct Container {
    pub id: String,
    /// The id of its image.
    pub image: String,
    pub state: ContainerState,
    pub config: Option<Config>,
    pub host_config: Option<HostConfig>,
    /// How its files are kept.
    pub graph_driver: Option<GraphDriver>,
    pub mounts: Option<Vec<Mount>>,
    /// What it wrote over its image, in bytes, if that was asked for.
    pub size_rw: Option<u64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct GraphDriver {
    pub name: String,
    pub data: Option<BTreeMap<String, String>>,
}

impl GraphDriver {
    /// Where it writes over its image, on the engine's machine.
    pub fn upper(&self) -> Option<&Path> {
        let upper = self.data.as_ref()?.get("UpperDir").map(Path::new);
        upper.filter(|it| self.name == "overlay2" && it.is_absolute())
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct HostConfig {
    /// Of OCI, by the engine's own word.
    pub runtime: String,
    /// none, host, bridge or the name of a network.
    pub network_mode: String,
    /// In bytes; 0 = no limit, as in the others.
    pub memory: i64,
    /// Processors, in billionths.
    pub nano_cpus: i64,
    /// The same as a part of a period, both in microseconds.
    pub cpu_quota: i64,
    pub cpu_period: i64,
    /// `None` and numbers below 1 = no limit.
    pub pids_limit: Option<i64>,
    /// What it was given beside its image: GPUs, as far as they are known.
    pub device_requests: Option<Vec<DeviceRequest>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct DeviceRequest {
    /// nvidia, cdi or others; empty = by what it can do.
    pub driver: String,
    /// Each a list of what it can do.
    pub capabilities: Option<Vec<Vec<String>>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct Mount {
    #[serde(rename = "Type")]
    pub kind: String,
    pub destination: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct ContainerState {
    /// created, running, paused, restarting, removing, exited or dead.
    pub status: String,
    pub running: bool,
    /// Its first process, as the engine's machine sees it; 0 = there is none.
    pub pid: u32,
    pub paused: bool,
    #[serde(rename = "OOMKilled")]
    pub out_of_memory: bool,
    pub exit_code: i64,
    pub error: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct Exec {
    pub running: bool,
    pub exit_code: Option<i64>,
    /// As the engine's machine sees it; 0 = it has not started, or never did.
    pub pid: u32,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct Image {
    pub id: String,
    pub architecture: String,
    pub os: String,
    pub size: Option<u64>,
    pub repo_tags: Option<Vec<String>>,
    pub config: Option<Config>,
}

/// Of a container or an image.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct Config {
    pub user: String,
    pub labels: Option<BTreeMap<String, String>>,
    pub env: Option<Vec<String>>,
}

impl Config {
    pub fn label(&self, name: &str) -> Option<&str> {
        self.labels.as_ref()?.get(name).map(String::as_str)
    }
}

/// What `docker info` is made of.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct Information {
    pub server_version: String,
    pub kernel_version: String,
    #[serde(rename = "OSType")]
    pub os_type: String,
    pub memory_limit: bool,
    pub swap_limit: bool,
    pub cpu_cfs_quota: bool,
    pub pids_limit: bool,
    pub security_options: Option<Vec<String>>,
    pub runtimes: Option<serde_json::Map<String, serde_json::Value>>,
    /// Devices that the engine finds described in files (CDI); engines of 2025 and later tell.
    pub discovered_devices: Option<Vec<Device>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Device {
    #[serde(rename = "ID")]
    pub id: String,
}

impl Information {
    fn is_set(&self, name: &str) -> bool {
        let name = format!("name={name}");
        let found = |it: &String| it.split(',').any(|it| it == name);
        self.security_options.as_ref().is_some_and(|all| all.iter().any(found))
    }

    /// The engine runs as its user, who is root inside of containers.
    pub fn is_rootless(&self) -> bool {
        self.is_set("rootless")
    }

    /// A container can see control groups of its own only: with Linux 4.6 and newer.
    pub fn has_group_namespaces(&self) -> bool {
        let mut numbers = self.kernel_version.split(|it: char| !it.is_ascii_digit());
        let mut next = || numbers.next()?.parse::<u32>().ok();
        next().zip(next()).is_none_or(|it| it >= (4, 6))
    }

    /// Users inside are others outside.
    pub fn maps_users(&self) -> bool {
        self.is_set("userns")
    }

    /// Graphics processors can be had, as far as the engine tells: one that has them may not.
    pub fn has_gpus(&self) -> bool {
        let described = self.discovered_devices.iter().flatten();
        self.has_runtime("nvidia") || described.into_iter().any(|it| it.id.contains("/gpu="))
    }

    pub fn has_runtime(&self, name: &str) -> bool {
        self.runtimes.as_ref().is_some_and(|all| all.contains_key(name))
    }
}
