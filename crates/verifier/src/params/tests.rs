use super::*;
use zkinfer_circuits::card::{FileKind, seal};

fn bytes(params: &Params<C>) -> Vec<u8> {
    to_bytes(params).unwrap()
}

#[test]
fn shipped_parameters_are_the_generated_ones() {
    for k in MIN_K..=MAX_SHIPPED_K {
        // The larger ones take seconds in a debug build.
        if k <= 10 || !cfg!(debug_assertions) {
            assert!(
                bytes(&shipped(k).unwrap()) == bytes(&Params::new(k)),
                "k = {k}: run the example generate_params"
            );
        }
    }
    assert!(shipped(MAX_SHIPPED_K + 1).is_none());
}

#[test]
fn k_is_bounded() {
    for k in [0, 5, MAX_K + 1, 31, 32, u32::MAX] {
        assert_eq!(
            load(k).unwrap_err(),
            ParamsError::K {
                k,
                min: MIN_K,
                max: MAX_K
            }
        );
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
        .map(|_| std::thread::spawn(|| load(7).unwrap()))
        .collect();
    let all: Vec<_> = threads.into_iter().map(|t| t.join().unwrap()).collect();
    assert!(all.iter().all(|p| Arc::ptr_eq(p, &all[0])));
}

#[test]
fn damaged_files_are_made_again() {
    let dir = tempfile::tempdir().unwrap();
    let want = bytes(&Params::new(6));
    assert!(bytes(&load_from(Some(dir.path()), 6)) == want);
    let file = path(dir.path(), 6);
    assert!(std::fs::read(&file).unwrap() == want && want.len() == file_len(6));

    let mut flipped = want.clone();
    flipped[1000] ^= 1;
    let mut longer = want.clone();
    longer.push(0);
    // A checksum that is right over content that is not: another k, no point.
    let huge = seal(FileKind::Params, &31u32.to_le_bytes());
    let no_point = seal(
        FileKind::Params,
        &[6u32.to_le_bytes().as_slice(), &[0xff; 130 * 32]].concat(),
    );
    let other = bytes(&Params::new(7));
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
        assert!(read(&file, 6).is_err());
        assert!(bytes(&load_from(Some(dir.path()), 6)) == want);
        assert!(std::fs::read(&file).unwrap() == want);
    }
}

#[test]
fn an_unusable_directory_is_no_obstacle() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    std::fs::write(&file, "in the way").unwrap();
    let want = bytes(&Params::new(6));
    assert!(bytes(&load_from(Some(&file.join("below")), 6)) == want);
    assert!(bytes(&load_from(None, 6)) == want);
}

#[test]
fn writers_and_readers_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let want = bytes(&Params::new(6));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..5 {
                    assert!(bytes(&load_from(Some(dir.path()), 6)) == want);
                    std::fs::remove_file(path(dir.path(), 6)).ok();
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
