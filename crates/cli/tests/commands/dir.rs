//! A folder of its own in which the binary runs.

use serde_json::Value;
use std::path::PathBuf;
use std::process::{Command, Output};

/// A file that the demo is made of.
pub fn asset(name: &str) -> String {
    format!("{}/assets/{name}", env!("CARGO_MANIFEST_DIR"))
}

pub struct Dir(tempfile::TempDir);

impl Dir {
    pub fn new() -> Dir {
        Dir(tempfile::tempdir().unwrap())
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// `IMAGES` stands for the demo's images.
    pub fn run(&self, arguments: &[&str]) -> Output {
        let images = asset("digits.npz");
        let arguments = arguments
            .iter()
            .map(|a| if *a == "IMAGES" { &images } else { *a });
        let mut command = Command::new(env!("CARGO_BIN_EXE_zkinfer"));
        command
            .args(arguments)
            .current_dir(self.0.path())
            .env("ZKINFER_CACHE_DIR", self.path("cache"))
            .env_remove("RUST_LOG");
        command.output().unwrap()
    }

    /// Expects an exit code; standard output and standard error.
    #[track_caller]
    fn ends(&self, code: i32, arguments: &[&str]) -> (String, String) {
        let out = self.run(arguments);
        let (stdout, stderr) = (
            String::from_utf8(out.stdout).unwrap(),
            String::from_utf8(out.stderr).unwrap(),
        );
        assert_eq!(
            out.status.code(),
            Some(code),
            "{arguments:?}\n{stdout}\n{stderr}"
        );
        if code == 2 {
            assert!(stderr.contains("error: "), "{stderr}");
        }
        assert!(!stderr.contains("panicked"), "{stderr}");
        (stdout, stderr)
    }

    /// Expects an exit code; standard output.
    #[track_caller]
    pub fn expect(&self, code: i32, arguments: &[&str]) -> String {
        self.ends(code, arguments).0
    }

    /// Expects exit code 2; standard error.
    #[track_caller]
    pub fn unusable(&self, arguments: &[&str]) -> String {
        self.ends(2, arguments).1
    }

    /// The same with `--json`: one line.
    #[track_caller]
    pub fn json(&self, code: i32, arguments: &[&str]) -> Value {
        let all: Vec<&str> = arguments.iter().copied().chain(["--json"]).collect();
        let text = self.expect(code, &all);
        assert_eq!(text.lines().count(), 1, "{text}");
        serde_json::from_str(&text).unwrap()
    }
}
