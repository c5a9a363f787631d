//! Bounds of reading what sandboxes use.

use std::time::Duration;

/// How often what sandboxes use is read.
pub const GAUGED_EVERY: Duration = Duration::from_secs(1);
/// How long a round waits for drivers that read: what comes later is in the next one.
pub const GAUGES_AWAITED: Duration = Duration::from_millis(200);
/// A driver of GPUs that has not answered for so long hangs.
pub const GAUGED_WITHIN: Duration = Duration::from_secs(5);
/// Processes of one sandbox whose share of memory is read, and for how long: of the biggest, and what others have is taken
/// whole.
pub const METER_SHARES_MAX: usize = 64;
pub const METER_SHARES_OF_ONE_WITHIN: Duration = Duration::from_millis(20);
/// Time for that in one round, all sandboxes together: it is the dear part, 50 us of a small process and milliseconds of a
/// big one. What took longer is left out of the rounds after it, of so many at most; and a sandbox is not read anew for so
/// many times as long as it took.
pub const METER_SHARES_WITHIN: Duration = Duration::from_millis(2);
pub const METER_SHARES_OWED_MAX: u32 = 10;
pub const METER_SHARES_REST: u32 = 100;
/// It is read anew where a process has more or less in memory than before, or did something and it was so long ago.
pub const METER_SHARES_EVERY: Duration = Duration::from_secs(30);
/// A sandbox that needed less time on processors than this since it was read as a whole is quiet, and in all but one of so
/// many readings nothing is read of it but that time and what it reads and writes. A program gets some 20 MB in it at most.
pub const METER_STIRS: Duration = Duration::from_millis(2);
pub const METER_WHOLE_EVERY: u32 = 5;
/// Of a control group are read seldom, each so many readings: averages of pressure, which the kernel makes anew every two
/// seconds; limits; what was not there.
pub const METER_PRESSURE_EVERY: u32 = 2;
pub const METER_LIMITS_EVERY: u32 = 10;
pub const METER_MISSING_EVERY: u32 = 60;
/// Files of the kernel's that are kept open to be read each second, but no more than an eighth of what a process may have,
/// beside one for each sandbox.
pub const METER_FILES_MAX: usize = 8192;
/// Processes of one sandbox that are told by number.
pub const METERED_PROCESSES_MAX: usize = 4096;
/// Containers whose engines are asked at once what they use, for how long one is asked, and all of them together: less than
/// a driver's readings may take.
pub const ENGINE_METERS_MAX: usize = 8;
pub const ENGINE_METER_WITHIN: Duration = Duration::from_secs(2);
pub const ENGINE_METERS_WITHIN: Duration = Duration::from_secs(4);
/// What is kept of each gauge: a reading a second for an hour, and a minute's for a day.
pub const GAUGE_SECONDS_KEPT: usize = 3600;
pub const GAUGE_MINUTES_KEPT: usize = 24 * 60;
/// Parts into which the past is cut for one answer: more than a screen has columns.
pub const GAUGE_POINTS_MAX: u32 = 2000;
/// Sandboxes whose gauges go in one message.
pub const GAUGES_PER_MESSAGE: usize = 512;
/// Processors that are shown apart.
pub const CORES_SHOWN_MAX: usize = 1024;
