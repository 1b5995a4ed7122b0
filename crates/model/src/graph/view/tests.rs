use super::*;
use proptest::prelude::*;

fn table(view: &View) -> Vec<Option<usize>> {
    let len = view.axes.iter().map(|a| a.extent as usize).product();
    view.indices(len).expect("a valid view")
}

fn check(a: &View, dims: &[usize], b: &View) -> bool {
    let (ta, tb) = (table(a), table(b));
    let want: Vec<_> = tb.iter().map(|i| i.and_then(|i| ta[i])).collect();
    match compose(a, dims, b) {
        Some(c) => {
            assert_eq!(table(&c), want, "{a:?} {b:?} {c:?}");
            true
        }
        None => false,
    }
}

#[test]
fn transpose_then_patches_compose() {
    // NHWC seen as NCHW, then 3x3 patches with padding 1.
    let nchw = Builder::new(&[6, 5, 2])
        .walk(2, &[(2, 1)])
        .walk(6, &[(0, 1)])
        .walk(5, &[(1, 1)])
        .build();
    let patches = Builder::new(&[2, 6, 5]).offset(1, -1).offset(2, -1);
    let patches = patches
        .walk(6, &[(1, 1)])
        .walk(5, &[(2, 1)])
        .walk(2, &[(0, 1)])
        .walk(3, &[(1, 1)])
        .walk(3, &[(2, 1)]);
    assert!(check(&nchw, &[2, 6, 5], &patches.build()));
}

#[test]
fn flattened_transpose_splits_loops() {
    // [4,3] transposed to [3,4], flattened to 12, read in order and backwards.
    let a = Builder::new(&[4, 3])
        .walk(3, &[(1, 1)])
        .walk(4, &[(0, 1)])
        .build();
    assert!(check(
        &a,
        &[12],
        &Builder::new(&[12]).walk(12, &[(0, 1)]).build()
    ));
    assert!(check(
        &a,
        &[12],
        &Builder::new(&[12])
            .offset(0, 11)
            .walk(12, &[(0, -1)])
            .build()
    ));
    // [3,4] does not split into [2,6]: no affine map, and no wrong one either.
    let b = Builder::new(&[2, 6]).walk(6, &[(1, 1)]).walk(2, &[(0, 1)]);
    check(&a, &[2, 6], &b.build());
    assert!(is_identity(
        &Builder::new(&[4, 3])
            .walk(4, &[(0, 1)])
            .walk(3, &[(1, 1)])
            .build(),
        12
    ));
    assert!(!is_identity(&a, 12));
}

proptest! {
    #[test]
    fn composition_is_exact(
        d in prop::array::uniform3(1usize..5),
        order in Just([0usize, 1, 2]).prop_shuffle(),
        merge in 0usize..3,
        offset in prop::array::uniform3(-2i64..3),
        stride in prop::array::uniform3(-2i64..3),
        len in prop::array::uniform3(1usize..5),
    ) {
        let mut a = Builder::new(&d);
        for &o in &order {
            a = a.walk(d[o], &[(o, 1)]);
        }
        let a = a.build();
        let p: Vec<usize> = order.iter().map(|&o| d[o]).collect();
        let dims = match merge {
            0 => p,
            1 => vec![p[0] * p[1], p[2]],
            _ => vec![p[0], p[1] * p[2]],
        };
        let mut b = Builder::new(&dims);
        for k in 0..dims.len() {
            b = b.offset(k, offset[k]).walk(len[k], &[(k, stride[k])]);
        }
        check(&a, &dims, &b.build());
        // A plain permutation always composes.
        let mut b = Builder::new(&dims);
        for k in (0..dims.len()).rev() {
            b = b.walk(dims[k], &[(k, 1)]);
        }
        prop_assert!(check(&a, &dims, &b.build()));
    }
}

#[test]
fn sequences_become_loops() {
    let picked: Vec<usize> = vec![0, 1, 4, 5, 2, 3, 6, 7];
    let view = fit_view(&picked, 8).unwrap();
    assert_eq!(
        view.indices(8)
            .unwrap()
            .into_iter()
            .map(Option::unwrap)
            .collect::<Vec<_>>(),
        picked
    );
    assert!(fit_view(&[0, 1, 3, 7], 8).is_none());
    assert!(fit_view(&[3], 8).is_some());
}

#[test]
fn positions_are_replaced() {
    // 2x2 image of one channel padded by one, 3x3 kernel: four positions; read them in reverse.
    let axis = |strides: Vec<i64>| Axis {
        extent: 2,
        offset: -1,
        strides,
    };
    let view = View {
        loops: vec![2, 2, 3, 3],
        axes: vec![axis(vec![1, 0, 1, 0]), axis(vec![0, 1, 0, 1])],
    };
    let all = view.indices(4).unwrap();
    let reversed = pick_positions(&view, 1, 4, &[3, 2, 1, 0])
        .unwrap()
        .indices(4)
        .unwrap();
    let blocks: Vec<_> = all.chunks(9).rev().flatten().copied().collect();
    assert_eq!(reversed, blocks);
}
