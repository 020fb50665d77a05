//! The process as the operating system sees it: under the names that all exporters use, and under our own what those do not
//! know. Linux only; elsewhere it is zero.

use std::collections::HashSet;
use std::fs;
use std::path::Path;
use std::sync::Mutex;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use prometheus::{Counter, Gauge, IntCounter, IntGauge};

use super::declare::Declare;
use super::number;

pub struct Process {
    /// A counter can only be added to: with what it had before.
    cpu_seconds: Mutex<Counter>,
    resident_bytes: IntGauge,
    virtual_bytes: IntGauge,
    open_files: IntGauge,
    most_files: IntGauge,
    threads: IntGauge,
    start: Gauge,
    datagrams_dropped: IntCounter,
}

impl Process {
    pub fn declare(new: &mut Declare) -> Self {
        let process = Self {
            cpu_seconds: Mutex::new(
                new.float_counter("process_cpu_seconds_total", "User and system CPU time of the process."),
            ),
            resident_bytes: new.gauge("process_resident_memory_bytes", "Memory of the process that is in RAM."),
            virtual_bytes: new.gauge("process_virtual_memory_bytes", "Address space of the process."),
            open_files: new.gauge("process_open_fds", "Open file descriptors."),
            most_files: new.gauge("process_max_fds", "Most file descriptors that the process may have."),
            threads: new.gauge("process_threads", "Threads of the process."),
            start: new.float_gauge("process_start_time_seconds", "When the process started, as Unix time."),
            datagrams_dropped: new.counter(
                "qpq_datagrams_dropped_total",
                "Datagrams that came faster than they were read, so that the kernel dropped them.",
            ),
        };
        process.start.set(started());
        process
    }

    /// Reads `/proc`; what cannot be read stays as it was.
    pub fn refresh(&self) {
        if let Some(stat) = Stat::read() {
            self.resident_bytes.set(number(stat.resident_pages.saturating_mul(PAGE)));
            self.virtual_bytes.set(number(stat.virtual_bytes));
            self.threads.set(number(stat.threads));
            let counter = self.cpu_seconds.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            counter.inc_by((stat.cpu_ticks as f64 / TICKS_PER_SECOND - counter.get()).max(0.0));
        }
        if let Ok(open) = fs::read_dir("/proc/self/fd") {
            let open: Vec<_> = open.map(|file| file.and_then(|file| fs::read_link(file.path()))).collect();
            self.open_files.set(number(open.len()));
            let sockets: HashSet<u64> = open.iter().flatten().filter_map(|file| socket_number(file)).collect();
            let tables = ["/proc/self/net/udp", "/proc/self/net/udp6"].map(fs::read_to_string);
            let dropped: u64 = tables.iter().flatten().map(|table| datagrams_dropped(table, &sockets)).sum();
            self.datagrams_dropped.inc_by(dropped.saturating_sub(self.datagrams_dropped.get()));
        }
        let limits = fs::read_to_string("/proc/self/limits").unwrap_or_default();
        if let Some(most) = most_open_files(&limits) {
            self.most_files.set(most);
        }
    }
}

/// A few fields of `/proc/self/stat`.
#[derive(Debug, PartialEq, Eq)]
struct Stat {
    cpu_ticks: u64,
    threads: u64,
    start_ticks: u64,
    virtual_bytes: u64,
    resident_pages: u64,
}

impl Stat {
    fn read() -> Option<Self> {
        Self::parse(&fs::read_to_string("/proc/self/stat").ok()?)
    }

    /// The name of the program, in brackets, may contain anything; numbers follow.
    fn parse(text: &str) -> Option<Self> {
        let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
        let field = |index: usize| fields.get(index)?.parse::<u64>().ok();
        Some(Self {
            cpu_ticks: field(11)? + field(12)?,
            threads: field(17)?,
            start_ticks: field(19)?,
            virtual_bytes: field(20)?,
            resident_pages: field(21)?,
        })
    }
}

/// The number of a socket, from what its file descriptor links to: `socket:[4711]`.
fn socket_number(link: &Path) -> Option<u64> {
    link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
}

/// What was dropped at these sockets, according to a table of all sockets: the inode is in the tenth column, the drops are in
/// the last one.
fn datagrams_dropped(table: &str, sockets: &HashSet<u64>) -> u64 {
    let dropped = |line: &str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let is_ours = fields.get(9)?.parse().is_ok_and(|inode| sockets.contains(&inode));
        fields.last()?.parse::<u64>().ok().filter(|_| is_ours)
    };
    table.lines().filter_map(dropped).sum()
}

fn most_open_files(limits: &str) -> Option<i64> {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    match line.split_whitespace().next()? {
        "unlimited" => Some(i64::MAX),
        soft => soft.parse().ok(),
    }
}

fn started() -> f64 {
    let uptime = fs::read_to_string("/proc/uptime").unwrap_or_default();
    let uptime: Option<f64> = uptime.split_whitespace().next().and_then(|seconds| seconds.parse().ok());
    let age = match (uptime, Stat::read()) {
        (Some(uptime), Some(stat)) => (uptime - stat.start_ticks as f64 / TICKS_PER_SECOND).max(0.0),
        (_, _) => 0.0,
    };
    let started = SystemTime::now().checked_sub(Duration::from_secs_f64(age)).unwrap_or(UNIX_EPOCH);
    started.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

/// Linux has told user space the same for ever, whatever its real rate.
const TICKS_PER_SECOND: f64 = 100.0;

/// On all processors that servers have, unless somebody has built another kernel.
const PAGE: u64 = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stat_is_read_from_behind_the_name() {
        let text = "7 (a b) c) S 1 7 7 0 -1 4 1 0 0 0 250 50 0 0 20 0 9 0 1234 5000000 300 18446744073709551615";
        let stat =
            Stat { cpu_ticks: 300, threads: 9, start_ticks: 1234, virtual_bytes: 5_000_000, resident_pages: 300 };
        assert_eq!(Stat::parse(text), Some(stat));
        assert_eq!(Stat::parse("7 (a) S 1"), None);
    }

    #[test]
    fn only_what_is_dropped_at_own_sockets_counts() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops\n\
                     1: 0100007F:1B58 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 4711 2 0000000000000000 5\n\
                     2: 0100007F:1B58 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 4712 2 0000000000000000 7\n\
                     3: 0100007F:0035 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 4713 2 0000000000000000 90\n";
        let ours = ["socket:[4711]", "socket:[4712]", "/dev/null", "pipe:[4713]"].iter();
        let ours: HashSet<u64> = ours.filter_map(|link| socket_number(Path::new(link))).collect();
        assert_eq!(datagrams_dropped(table, &ours), 12);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_kernel_says_what_it_drops() {
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").expect("a socket");
        let to = socket.local_addr().expect("its address");
        let process = Process::declare(&mut Declare::default());
        let dropped = || {
            process.refresh();
            process.datagrams_dropped.get()
        };
        // Nobody reads them, so that the buffer is full some time, however large.
        for _ in 0..100 {
            (0..1000).for_each(|_| drop(socket.send_to(&[0; 1000], to)));
            if dropped() >= 1000 {
                break;
            }
        }
        let before = dropped();
        assert!(before >= 1000);
        assert!(dropped() < 2 * before, "counted once");
    }

    #[test]
    fn the_limit_on_files_is_the_soft_one() {
        let limits = "Limit                     Soft Limit           Hard Limit           Units\n\
                      Max open files            1024                 524288               files\n";
        assert_eq!(most_open_files(limits), Some(1024));
        assert_eq!(most_open_files(""), None);
    }
}
