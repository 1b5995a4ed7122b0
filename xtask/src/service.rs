//! A service in a process of its own, and a client that sends it bytes: for the programs that put load on one.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use zkinfer_circuits::card::Card;

pub type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Nothing takes longer.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// The service's process.
pub struct Service {
    process: Child,
    pub address: SocketAddr,
    /// Where else it answers about health and metrics. One of the two programs that share this file does not ask.
    #[allow(dead_code)]
    pub operations: Option<SocketAddr>,
}

impl Service {
    pub fn start(folder: &Path) -> Result<Service, Failure> {
        let mut process = Command::new(std::env::current_exe()?)
            .arg("serve")
            .arg(folder)
            .stdout(Stdio::piped())
            .spawn()?;
        let output = process.stdout.take().ok_or("no output")?;
        let mut line = String::new();
        BufReader::new(output).read_line(&mut line)?;
        let mut addresses = line.split_whitespace();
        let address = addresses.next().ok_or("no address")?.parse()?;
        let operations = addresses.next().map(str::parse).transpose()?;
        Ok(Service {
            process,
            address,
            operations,
        })
    }

    /// Its process.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    pub fn stop(&mut self) -> Result<(), Failure> {
        let id = self.process.id().to_string();
        Command::new("kill").args(["-TERM", &id]).status()?;
        let status = self.process.wait()?;
        assert!(status.success(), "{status}");
        Ok(())
    }
}

/// Memory of a process in kB: now, at most.
pub fn memory(id: u32) -> Result<(u64, u64), Failure> {
    let status = std::fs::read_to_string(format!("/proc/{id}/status"))?;
    let value = |name: &str| -> Result<u64, Failure> {
        let line = status
            .lines()
            .find_map(|l| l.strip_prefix(name))
            .ok_or("no such line")?;
        Ok(line.trim().trim_end_matches("kB").trim().parse()?)
    };
    Ok((value("VmRSS:")?, value("VmHWM:")?))
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

pub fn request(method: &str, path: &str, kind: &str, body: &[u8]) -> Vec<u8> {
    let mut bytes = format!("{method} {path} HTTP/1.1\r\nhost: load\r\ncontent-type: {kind}\r\ncontent-length: {}\r\n\r\n", body.len()).into_bytes();
    bytes.extend_from_slice(body);
    bytes
}

/// Sends a request and reads its answer: status, body, and whether the service closes the connection.
pub fn call(stream: &mut TcpStream, request: &[u8]) -> Result<(u16, Vec<u8>, bool), Failure> {
    stream.write_all(request)?;
    let mut bytes = Vec::new();
    let mut buffer = [0; 1 << 13];
    loop {
        let read = stream.read(&mut buffer)?;
        if read == 0 {
            return Err(format!("closed after {} bytes", bytes.len()).into());
        }
        bytes.extend_from_slice(&buffer[..read]);
        let Some(end) = bytes.windows(4).position(|w| w == b"\r\n\r\n") else {
            continue;
        };
        let head = std::str::from_utf8(&bytes[..end])?.to_ascii_lowercase();
        let length = head
            .lines()
            .find_map(|l| l.strip_prefix("content-length: "))
            .ok_or("no length")?;
        let length: usize = length.trim().parse()?;
        if bytes.len() == end + 4 + length {
            let status = head.split(' ').nth(1).ok_or("no status")?.parse()?;
            let close = head.lines().any(|l| l == "connection: close");
            return Ok((status, bytes[end + 4..].to_vec(), close));
        }
    }
}

pub fn fixture(file: &str) -> Result<Vec<u8>, Failure> {
    let mut folders = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors();
    let root = folders.find(|folder| folder.join("tests/fixtures").is_dir());
    let root = root.ok_or("no fixtures")?;
    Ok(std::fs::read(root.join("tests/fixtures").join(file))?)
}

pub fn digest(name: &str) -> Result<String, Failure> {
    Ok(
        Card::from_bytes(&fixture(&format!("{name}.card"))?, 1 << 20)?
            .digest()
            .to_string(),
    )
}
