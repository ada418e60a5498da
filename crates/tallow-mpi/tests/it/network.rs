//! Hosts on one machine: network namespaces with a switch between them, whose links have a given speed. Needs Linux and root, and `ip`, `tc`
//! and `unshare`. The tests of `tallow` share this file.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{self, Command};
use std::sync::atomic::{AtomicUsize, Ordering};

use tempfile::TempDir;

use crate::common::skipped;
use crate::launcher::is_in_path;

/// Programs that make a network.
const PROGRAMS: [&str; 3] = ["ip", "tc", "unshare"];

/// Command of a host's shell: takes its name, and becomes the command that follows.
const ENTER: &str = r#"hostname "$0" && exec "$@""#;

/// Hosts with a switch between them. It is taken apart when it is dropped.
pub struct Network {
    /// Start of the names of the namespaces.
    name: String,
    hosts: usize,
    folder: TempDir,
}

impl Network {
    /// So many hosts, each with a link of this speed in either direction, or as fast as the machine. `None`, and a word on it, where there can be
    /// none.
    pub fn new(hosts: usize, megabits: Option<u32>) -> Option<Self> {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        if let Some(missing) = PROGRAMS.iter().find(|name| !is_in_path(name)) {
            skipped(&format!("hosts on one machine need `{missing}`"));
            return None;
        }
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let network = Self {
            name: format!("tallow-{}-{number}", process::id()),
            hosts,
            folder: tempfile::tempdir().unwrap(),
        };
        // Network namespaces are root's, and some containers have none.
        match network.make(megabits) {
            Ok(()) => Some(network),
            Err(error) => {
                skipped(&format!("hosts on one machine: {error}"));
                None
            }
        }
    }

    fn make(&self, megabits: Option<u32>) -> Result<(), String> {
        let switch = self.switch();
        ip(&format!("netns add {switch}"))?;
        ip(&format!("-n {switch} link add br0 type bridge"))?;
        ip(&format!("-n {switch} link set br0 up"))?;
        for (host, address) in self.addresses().iter().enumerate() {
            let (name, port) = (self.host(host), format!("p{host}"));
            ip(&format!("netns add {name}"))?;
            ip(&format!(
                "-n {switch} link add {port} type veth peer name eth0 netns {name}"
            ))?;
            ip(&format!("-n {switch} link set {port} master br0 up"))?;
            ip(&format!("-n {name} addr add {address}/24 dev eth0"))?;
            ip(&format!("-n {name} link set lo up"))?;
            ip(&format!("-n {name} link set eth0 up"))?;
            if let Some(megabits) = megabits {
                for (namespace, device) in [(&name, "eth0"), (&switch, &*port)] {
                    tc(&format!(
                        "-n {namespace} qdisc add dev {device} root tbf rate {megabits}mbit burst 64kb limit 4mb"
                    ))?;
                }
            }
        }
        let agent = self.agent();
        fs::write(&agent, self.agent_text()).map_err(|error| error.to_string())?;
        let executable = fs::Permissions::from_mode(0o755);
        fs::set_permissions(&agent, executable).map_err(|error| error.to_string())
    }

    fn switch(&self) -> String {
        format!("{}-switch", self.name)
    }

    fn host(&self, host: usize) -> String {
        format!("{}-{host}", self.name)
    }

    /// Addresses of the hosts, from a network that is reserved for measurements.
    pub fn addresses(&self) -> Vec<String> {
        let hosts = 1..=self.hosts;
        hosts.map(|host| format!("198.18.0.{host}")).collect()
    }

    /// Command that runs a program on a host. Each has a name of its own: libraries take processes on hosts of one name for neighbours.
    pub fn command(&self, host: usize, program: &Path) -> Command {
        let name = self.host(host);
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &name]);
        command.args(["unshare", "--uts", "sh", "-c", ENTER, &name]);
        command.arg(program);
        command
    }

    /// Program that launchers call in place of `ssh`.
    pub fn agent(&self) -> PathBuf {
        self.folder.path().join("agent")
    }

    /// Text of the agent: it skips options, and the last number of the address says which host it enters.
    fn agent_text(&self) -> String {
        let name = &self.name;
        format!(
            r#"#!/bin/sh
while [ "${{1#-}}" != "$1" ]; do shift; done
host={name}-$((${{1##*.}} - 1))
shift
exec ip netns exec "$host" unshare --uts sh -c "hostname $host && $*"
"#
        )
    }

    /// Bytes that a host has sent to the others so far.
    pub fn sent(&self, host: usize) -> u64 {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.host(host)]);
        command.args(["cat", "/proc/net/dev"]);
        let output = command.output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let line = (text.lines()).find_map(|line| line.trim().strip_prefix("eth0:"));
        let sent = line.and_then(|line| line.split_whitespace().nth(8));
        sent.and_then(|sent| sent.parse().ok())
            .unwrap_or_else(|| panic!("no count of bytes in {text}"))
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        // What was not made cannot be deleted.
        for host in 0..self.hosts {
            let _ = ip(&format!("netns delete {}", self.host(host)));
        }
        let _ = ip(&format!("netns delete {}", self.switch()));
    }
}

fn ip(arguments: &str) -> Result<(), String> {
    run("ip", arguments)
}

fn tc(arguments: &str) -> Result<(), String> {
    run("tc", arguments)
}

/// Runs a program with arguments without spaces.
fn run(program: &str, arguments: &str) -> Result<(), String> {
    let output = Command::new(program)
        .args(arguments.split(' '))
        .output()
        .map_err(|error| format!("{program}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let message = String::from_utf8_lossy(&output.stderr);
    Err(format!("{program} {arguments}: {}", message.trim()))
}
