//! Lies about tables: a tag that a value could undo.

use super::*;
use zkinfer_circuits::gates::function_entry;

/// `40 + f(x)/4` with two tables, `f(x) = x/2` the first.
pub(super) fn two_tables() -> QuantizedModel {
    let half: Vec<u16> = (0..64).map(|x| x / 2).collect();
    let other: Vec<u16> = (0..64).map(|x| (x * x + 1) % 20).collect();
    let nodes = vec![
        Node::Input { len: 1 },
        neurons(
            1,
            Unit {
                tables: vec![0],
                ..Unit::LINEAR
            },
            vec![public(value(0, 0), &[64])],
        ),
        Node::Constant { len: 1 },
        neurons(
            1,
            Unit::LINEAR,
            vec![public(value(1, 1), &[16]), public(value(2, 0), &[64 * 40])],
        ),
    ];
    model(vec![half, other], nodes, 3, vec![])
}

/// The tag of a table must not be something that a value can undo. Claims the value for which `f + 2^T·tag` of table 0 is
/// the same sum of another table (`Some`), or zero, which is what the range table would have there (`None`), and moves the
/// multiplicity there.
fn table_value_of(other: Option<usize>) -> (Result<Side, Rejection>, Vec<String>) {
    let secret = committed(two_tables());
    let x = 21usize;
    let tables = secret.plan().program.tables.clone();
    let honest = i64::from(tables[0][x]);
    let forged = match other {
        None => -64,
        Some(f) => i64::from(tables[f][x]) + 64 * f as i64,
    };
    let cells = |plan: &Plan, p: &mut witness::Phase1| {
        let y = 16 * forged + 64 * 40;
        let (lane, row) = cell(plan, 3, 0);
        p.cells[lane.x][row] = (y >> 6) as u32;
        p.cells[lane.rem[0]][row] = (y & 63) as u32;
        p.accumulators[lane.first_candidate][row] = y;
    };
    // One look-up less in table 0, one more in the other.
    let multiplicities = |plan: &Plan, p: &mut witness::Phase1| {
        let column = |tag| {
            plan.description
                .sums
                .tables
                .iter()
                .flat_map(|(_, t)| t)
                .find(|t| t.tag == tag && t.piece == 0)
                .unwrap()
                .multiplicity
        };
        p.cells[column(1)][x] -= 1;
        p.cells[column(other.map_or(0, |f| f + 1))][x] += 1;
    };
    let columns =
        |plan: &Plan, phase: u8, columns: &mut [Vec<F>], challenges: Option<&Challenges>| {
            let (lane, row) = cell(plan, 1, 0);
            if phase == 1 {
                columns[lane.tables[0]][row] = zkinfer_circuits::fold::small(forged);
            }
            if let (5, Some(c)) = (phase, challenges) {
                // What the prover's own helper has added for the honest value is replaced by the other table's fraction.
                let fraction = |denominator: F| denominator.invert().unwrap();
                let theta = c.theta.unwrap();
                let entry = |f: Option<usize>| match f {
                    None => fraction(c.alpha + F::from(x as u64)),
                    Some(f) => fraction(function_entry(
                        c.alpha,
                        theta,
                        f,
                        x as u64,
                        u64::from(tables[f][x]),
                    )),
                };
                let delta = entry(other) - entry(Some(0));
                let sum = plan
                    .description
                    .sums
                    .lookups
                    .iter()
                    .find(|(_, l)| l.iter().any(|l| l.value == Some(lane.tables[0])))
                    .unwrap()
                    .0;
                columns[sum][row + 1..].iter_mut().for_each(|v| *v += delta);
            }
        };
    let by = ((16 * forged) >> 6) - ((16 * honest) >> 6);
    let mut lie = Lie {
        cells: Some(&cells),
        multiplicities: Some(&multiplicities),
        columns: Some(&columns),
        ..Lie::default()
    };
    let verdict = judge(&secret, &[vec![x as u32]], &[(0, by as i32)], &mut lie);
    (verdict, lie.violated)
}

#[test]
fn table_value_that_turns_a_pair_into_a_range_entry() {
    let (verdict, violated) = table_value_of(None);
    assert_eq!(verdict, Err(Rejection::Circuit));
    assert!(
        matches!(&violated[..], [gate] if gate.starts_with("lookup: value sum")),
        "{violated:?}"
    );
}

#[test]
fn table_value_that_turns_a_pair_into_another_tables() {
    let (verdict, violated) = table_value_of(Some(1));
    assert_eq!(verdict, Err(Rejection::Circuit));
    assert!(
        matches!(&violated[..], [gate] if gate.starts_with("lookup: value sum")),
        "{violated:?}"
    );
}
