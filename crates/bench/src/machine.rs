//! The machine that measures: what it is, how busy it is, which versions run.

use crate::report::Machine;
use std::process::Command;
use zkinfer::Engine;

/// Version of `halo2_proofs`, which the workspace pins exactly.
const HALO2: &str = "0.4.1";

impl Machine {
    /// Looks at this machine. `engine` is the prover that was asked for.
    pub fn here(engine: Engine) -> Machine {
        let engine = match engine {
            Engine::Auto if Engine::Ifma.is_available() => Engine::Ifma,
            Engine::Auto => Engine::Portable,
            chosen => chosen,
        };
        Machine {
            cpu: cpu().unwrap_or_default(),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            memory_bytes: memory(),
            os: os(),
            instructions: instructions(),
            engine: engine.name().to_owned(),
            zkinfer: env!("CARGO_PKG_VERSION").to_owned(),
            halo2: HALO2.to_owned(),
            rustc: option_env!("ZKINFER_BENCH_RUSTC").unwrap_or("").to_owned(),
            started: humantime::format_rfc3339_seconds(std::time::SystemTime::now()).to_string(),
            load_start: load(),
            load_end: None,
        }
    }

    /// Notes the load behind the last measurement.
    pub fn finish(&mut self) {
        self.load_end = load();
    }

    /// Whether two reports are of the same machine and build, as far as they tell.
    pub fn is_like(&self, other: &Machine) -> bool {
        (&self.cpu, self.cores, &self.os, &self.engine, &self.zkinfer)
            == (
                &other.cpu,
                other.cores,
                &other.os,
                &other.engine,
                &other.zkinfer,
            )
    }

    /// Whether the machine had other work before the first measurement: more than half a core's, by the last minute.
    pub fn was_busy(&self) -> bool {
        self.load_start.is_some_and(|load| load[0] > 0.5)
    }
}

/// The value behind the first line of a file that begins with `key`.
fn line(path: &str, key: &str) -> Option<String> {
    let text = std::fs::read_to_string(path).ok()?;
    let line = text.lines().find(|l| l.starts_with(key))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

/// What a command prints, for systems that tell by command.
fn command(program: &str, arguments: &[&str]) -> Option<String> {
    let out = Command::new(program).args(arguments).output().ok()?;
    let text = String::from_utf8(out.stdout).ok()?;
    let text = text.trim();
    (out.status.success() && !text.is_empty()).then(|| text.to_owned())
}

fn cpu() -> Option<String> {
    if cfg!(target_os = "linux") {
        line("/proc/cpuinfo", "model name").or_else(|| line("/proc/cpuinfo", "Hardware"))
    } else if cfg!(target_os = "macos") {
        command("sysctl", &["-n", "machdep.cpu.brand_string"])
    } else {
        std::env::var("PROCESSOR_IDENTIFIER").ok()
    }
}

fn memory() -> Option<u64> {
    if cfg!(target_os = "linux") {
        let text = line("/proc/meminfo", "MemTotal")?;
        let kilobytes: u64 = text.split_whitespace().next()?.parse().ok()?;
        Some(kilobytes * 1024)
    } else if cfg!(target_os = "macos") {
        command("sysctl", &["-n", "hw.memsize"])?.parse().ok()
    } else {
        None
    }
}

fn os() -> String {
    let name = if cfg!(unix) {
        command("uname", &["-sr"])
    } else {
        None
    };
    let name = name.unwrap_or_else(|| std::env::consts::OS.to_owned());
    format!("{name}, {}", std::env::consts::ARCH)
}

/// Load averages.
fn load() -> Option<[f64; 3]> {
    let text = if cfg!(target_os = "linux") {
        std::fs::read_to_string("/proc/loadavg").ok()?
    } else if cfg!(target_os = "macos") {
        command("sysctl", &["-n", "vm.loadavg"])?.replace(['{', '}'], "")
    } else {
        return None;
    };
    let mut numbers = text.split_whitespace().map_while(|n| n.parse().ok());
    Some([numbers.next()?, numbers.next()?, numbers.next()?])
}

#[cfg(target_arch = "x86_64")]
fn instructions() -> Vec<String> {
    let all = [
        ("avx2", std::arch::is_x86_feature_detected!("avx2")),
        ("avx512f", std::arch::is_x86_feature_detected!("avx512f")),
        (
            "avx512ifma",
            std::arch::is_x86_feature_detected!("avx512ifma"),
        ),
    ];
    all.iter().filter(|i| i.1).map(|i| i.0.to_owned()).collect()
}

#[cfg(not(target_arch = "x86_64"))]
fn instructions() -> Vec<String> {
    Vec::new()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_those_that_are_built() {
        let lock = concat!(env!("CARGO_MANIFEST_DIR"), "/../../Cargo.lock");
        let lock = std::fs::read_to_string(lock).expect("the lock file of the workspace");
        let entry = format!("name = \"halo2_proofs\"\nversion = \"{HALO2}\"");
        assert!(lock.contains(&entry));
        assert!(Machine::here(Engine::Auto).rustc.starts_with("rustc 1."));
    }

    #[test]
    fn this_machine_is_like_itself() {
        let machine = Machine::here(Engine::Auto);
        assert!(machine.cores >= 1);
        assert!(
            machine.engine != "auto" && machine.started.ends_with('Z'),
            "{machine:?}"
        );
        assert!(machine.is_like(&Machine::here(Engine::Auto)));
        if Engine::Ifma.is_available() {
            assert!(machine.instructions.contains(&"avx512ifma".to_owned()));
            assert!(!machine.is_like(&Machine::here(Engine::Portable)));
        }
        #[cfg(target_os = "linux")]
        assert!(machine.memory_bytes.is_some() && machine.load_start.is_some());
    }
}
