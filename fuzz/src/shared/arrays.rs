//! Arrays and archives of them, damaged where it matters.

use crate::bytes::{Random, below, change, change_text};
use std::io::Write;
use zip::CompressionMethod;
use zip::write::{SimpleFileOptions, ZipWriter};

/// An array with changes in its header, mostly.
pub fn header(rng: &mut Random, seeds: &[Vec<u8>]) -> Vec<u8> {
    let bytes = seeds[below(rng, seeds.len())].clone();
    let (head, data) = bytes.split_at(bytes.len().min(128));
    let (mut head, mut data) = (head.to_vec(), data.to_vec());
    let other = &seeds[below(rng, seeds.len())];
    match below(rng, 4) {
        0 => change(rng, &mut data, other),
        _ => change_text(rng, &mut head, &other[..other.len().min(128)]),
    }
    head.append(&mut data);
    head
}

/// An archive of changed arrays, with names that matter.
pub fn archive(rng: &mut Random, seeds: &[Vec<u8>]) -> Result<Vec<u8>, zip::result::ZipError> {
    const NAMES: [&str; 6] = [
        "x0.npy",
        "x1.npy",
        "y0.npy",
        "labels.npy",
        "x0",
        "other.npy",
    ];
    let mut writer = ZipWriter::new(std::io::Cursor::new(Vec::new()));
    let first = below(rng, NAMES.len());
    for i in 0..1 + below(rng, 3) {
        let method = [CompressionMethod::Stored, CompressionMethod::Deflated][below(rng, 2)];
        let options = SimpleFileOptions::default().compression_method(method);
        // No name twice.
        let name = if i == 0 {
            "x0.npy"
        } else {
            NAMES[(first + i) % NAMES.len()]
        };
        if i > 0 && name == "x0.npy" {
            continue;
        }
        writer.start_file(name, options)?;
        let array = match below(rng, 4) {
            0 => seeds[below(rng, seeds.len())].clone(),
            _ => header(rng, seeds),
        };
        writer.write_all(&array)?;
    }
    Ok(writer.finish()?.into_inner())
}
