use super::*;
use halo2_proofs::poly::commitment::Params;
use zkinfer_circuits::C;
use zkinfer_circuits::card::{FileKind, seal};
use zkinfer_circuits::generators::Generators;
use zkinfer_circuits::params::{file_len, from_bytes};

use crate::params::MAX_SHIPPED_K;
use crate::{generators, params};

fn bytes<T: Kept>(kept: &T) -> Vec<u8> {
    kept.to_bytes().unwrap()
}

#[test]
fn shipped_are_the_generated_ones() {
    for k in MIN_K..=MAX_SHIPPED_K {
        // The larger ones take seconds in a debug build.
        if k <= 10 || !cfg!(debug_assertions) {
            let made = Params::new(k);
            let same = bytes(&Params::shipped(k).unwrap()) == bytes(&made);
            assert!(same, "k = {k}: run cargo xtask generate_params");
            assert_eq!(Generators::shipped(k).unwrap(), Generators::of(&made));
        }
    }
    assert!(Params::shipped(MAX_SHIPPED_K + 1).is_none());
    for k in [0, MIN_K - 1, MAX_SHIPPED_K + 1] {
        assert!(Generators::shipped(k).is_none());
    }
}

#[test]
fn k_is_bounded() {
    for k in [0, 5, MAX_K + 1, 31, 32, u32::MAX] {
        let error = ParamsError::K {
            k,
            min: MIN_K,
            max: MAX_K,
        };
        assert_eq!(params::load(k).unwrap_err(), error);
        assert_eq!(generators::load(k).unwrap_err(), error);
    }
    for k in [0u32, 5, 19, 31, 64, 200, u32::MAX] {
        assert!(
            matches!(from_bytes(&seal(FileKind::Params, &k.to_le_bytes())), Err(ReadError::OtherK { found }) if found == k)
        );
    }
    assert!(from_bytes(&[]).is_err());
}

#[test]
fn a_process_has_each_once() {
    let threads: Vec<_> = (0..4)
        .map(|_| std::thread::spawn(|| generators::load(7).unwrap()))
        .collect();
    let all: Vec<_> = threads.into_iter().map(|t| t.join().unwrap()).collect();
    assert!(all.iter().all(|p| Arc::ptr_eq(p, &all[0])));
}

/// One kind of it: what was damaged is made again.
fn damaged<T: Kept>(kind: FileKind) {
    let dir = tempfile::tempdir().unwrap();
    let want = bytes(&T::make(6));
    assert!(bytes(&load_from::<T>(Some(dir.path()), 6)) == want);
    let file = path::<T>(dir.path(), 6);
    assert!(std::fs::read(&file).unwrap() == want && want.len() == T::file_len(6));

    let mut flipped = want.clone();
    flipped[1000] ^= 1;
    let mut longer = want.clone();
    longer.push(0);
    // A checksum that is right over content that is not: another k, no point.
    let huge = seal(kind, &31u32.to_le_bytes());
    let points = vec![0xff; want.len() - 46];
    let no_point = seal(kind, &[6u32.to_le_bytes().as_slice(), &points].concat());
    let other = bytes(&T::make(7));
    let damaged = [
        &b""[..],
        &want[..1],
        &want[..want.len() / 2],
        &want[..want.len() - 1],
        &flipped,
        &longer,
        &huge,
        &no_point,
        &other,
    ];
    for content in damaged {
        std::fs::write(&file, content).unwrap();
        assert!(read::<T>(&file, 6).is_err());
        assert!(bytes(&load_from::<T>(Some(dir.path()), 6)) == want);
        assert!(std::fs::read(&file).unwrap() == want);
    }
}

#[test]
fn damaged_files_are_made_again() {
    damaged::<Params<C>>(FileKind::Params);
    damaged::<Generators>(FileKind::Generators);
}

#[test]
fn an_unusable_directory_is_no_obstacle() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    std::fs::write(&file, "in the way").unwrap();
    let want = bytes(&Generators::new(6));
    assert!(bytes(&load_from::<Generators>(Some(&file.join("below")), 6)) == want);
    assert!(bytes(&load_from::<Generators>(None, 6)) == want);
}

#[test]
fn writers_and_readers_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let want = bytes(&Generators::new(6));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..5 {
                    assert!(bytes(&load_from::<Generators>(Some(dir.path()), 6)) == want);
                    std::fs::remove_file(path::<Generators>(dir.path(), 6)).ok();
                }
            });
        }
    });
    // Nothing half written stays behind.
    let left: Vec<_> = std::fs::read_dir(dir.path())
        .unwrap()
        .map(|e| e.unwrap().file_name())
        .collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn other_points_under_a_valid_checksum_are_refused() {
    // Two points swapped: still points, still sealed, but not the parameters.
    let k = MAX_SHIPPED_K + 1;
    let mut payload = k.to_le_bytes().to_vec();
    payload.resize(file_len(k) - 42, 0);
    assert!(matches!(
        from_bytes(&seal(FileKind::Params, &payload)),
        Err(ReadError::Forged)
    ));
}
