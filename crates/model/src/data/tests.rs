use super::*;

fn npy(header: &str, data: &[u8]) -> Vec<u8> {
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((header.len() as u16).to_le_bytes());
    bytes.extend(header.as_bytes());
    bytes.extend(data);
    bytes
}

fn load(header: &str, data: &[u8], len: usize) -> Result<Samples, DataError> {
    Samples::from_arrays(
        vec![("x0".into(), Array::from_npy("x0", &npy(header, data))?)],
        &[len],
    )
}

#[test]
fn reads_dtypes() {
    let f4: Vec<u8> = [1.5f32, -2.0]
        .iter()
        .flat_map(|v| v.to_le_bytes())
        .collect();
    let s = load(
        "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 1), }\n",
        &f4,
        1,
    )
    .expect("valid");
    assert_eq!(s.inputs, vec![vec![vec![1.5]], vec![vec![-2.0]]]);
    let s = load(
        "{'descr': '|b1', 'fortran_order': False, 'shape': (1, 2), }",
        &[1, 0],
        2,
    )
    .expect("valid");
    assert_eq!(s.inputs, vec![vec![vec![1.0, 0.0]]]);
    let f8: Vec<u8> = [1.5f64, -2.0]
        .iter()
        .flat_map(|v| v.to_be_bytes())
        .collect();
    let s = load(
        "{'descr': '>f8', 'fortran_order': True, 'shape': (1, 2), }",
        &f8,
        2,
    );
    assert_eq!(s.expect("valid").inputs, vec![vec![vec![1.5, -2.0]]]);
}

#[test]
fn fortran_order_is_transposed() {
    let data: Vec<u8> = [1i32, 4, 2, 5, 3, 6]
        .iter()
        .flat_map(|v| v.to_le_bytes())
        .collect();
    let s = load(
        "{'descr': '<i4', 'fortran_order': True, 'shape': (2, 3), }",
        &data,
        3,
    )
    .expect("valid");
    assert_eq!(
        s.inputs,
        vec![vec![vec![1.0, 2.0, 3.0]], vec![vec![4.0, 5.0, 6.0]]]
    );
}

#[test]
fn hostile_headers_are_errors() {
    let huge = "{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999, 99999999999), }";
    assert!(matches!(load(huge, &[], 1), Err(DataError::Limit { .. })));
    let lie = "{'descr': '<f4', 'fortran_order': False, 'shape': (1000, 1000), }";
    assert!(matches!(
        load(lie, &[0; 8], 1),
        Err(DataError::Malformed { .. })
    ));
    assert!(matches!(
        load("{'descr': '<c8', 'shape': (1,)}", &[0; 8], 1),
        Err(DataError::Malformed { .. })
    ));
    assert!(matches!(
        load("((((((", &[], 1),
        Err(DataError::Malformed { .. })
    ));
    let good = npy(
        "{'descr': '<f4', 'fortran_order': False, 'shape': (1, 2), }",
        &[0; 8],
    );
    for cut in 0..good.len() {
        assert!(Array::from_npy("x0", &good[..cut]).is_err());
    }
    for at in 0..good.len() {
        for byte in [0, b'(', b'\'', 0xff] {
            let mut bad = good.clone();
            bad[at] = byte;
            let _ = Array::from_npy("x0", &bad);
        }
    }
}

#[test]
fn mismatches_name_the_array() {
    let two = "{'descr': '|u1', 'fortran_order': False, 'shape': (1, 2), }";
    assert!(matches!(
        load(two, &[1, 2], 3),
        Err(DataError::Shape {
            expected: 3,
            found: 2,
            ..
        })
    ));
    let json = br#"{"input_data": [[1, 2.5]], "output_data": [[3]]}"#;
    let s = Samples::from_json(json, &[2]).expect("valid");
    assert_eq!(
        (s.inputs, s.outputs),
        (vec![vec![vec![1.0, 2.5]]], Some(vec![vec![vec![3.0]]]))
    );
    assert!(matches!(
        Samples::from_json(json, &[2, 1]),
        Err(DataError::Missing { .. })
    ));
    assert!(matches!(
        Samples::from_json(json, &[3]),
        Err(DataError::Shape { .. })
    ));
    let deep = "[".repeat(100_000);
    assert!(Samples::from_json(deep.as_bytes(), &[3]).is_err());
}

#[test]
fn element_types_of_sixteen_bits_and_unsigned() {
    let cases: [(&str, &[u8], f32); 6] = [
        ("<f2", &[0x00, 0xc2], -3.0),
        ("<V2", &[0x40, 0xc0], -3.0),
        ("<i2", &[0xfd, 0xff], -3.0),
        ("<u2", &[0xff, 0xff], 65535.0),
        ("<u4", &[0xff, 0xff, 0, 0], 65535.0),
        ("<u8", &[0, 0, 0, 1, 0, 0, 0, 0], 16777216.0),
    ];
    for (kind, bytes, want) in cases {
        let header = format!("{{'descr': '{kind}', 'fortran_order': False, 'shape': (1, 1), }}");
        let samples = load(&header, bytes, 1).expect(kind);
        assert_eq!(samples.inputs, vec![vec![vec![want]]], "{kind}");
    }
    let beyond = "{'descr': '<i8', 'fortran_order': False, 'shape': (1, 1), }";
    let error = load(beyond, &[1, 0, 0, 1, 0, 0, 0, 0], 1).expect_err("not a float");
    assert!(error.to_string().contains("16777217"), "{error}");
    let texts = "{'descr': '<U1', 'fortran_order': False, 'shape': (1, 1), }";
    assert!(matches!(
        load(texts, &[65, 0, 0, 0], 1),
        Err(DataError::Text { .. })
    ));
}

fn form(name: &str, shape: &[usize], position: usize) -> TensorForm {
    TensorForm {
        name: name.into(),
        shape: shape.to_vec(),
        position,
    }
}

fn array(shape: &[usize], first: f32) -> Array {
    let len = shape.iter().product();
    Array {
        shape: shape.to_vec(),
        values: (0..len).map(|i| first + i as f32).collect(),
    }
}

#[test]
fn arrays_are_found_by_name_or_place() {
    let forms = [form("ids", &[1, 2], 0), form("mask", &[1, 2], 1)];
    let by_name = Arrays::new(vec![
        ("mask".into(), array(&[2, 2], 10.0)),
        ("ids".into(), array(&[2, 2], 0.0)),
    ]);
    let by_place = Arrays::new(vec![
        ("x1".into(), array(&[2, 2], 10.0)),
        ("x0".into(), array(&[2, 2], 0.0)),
    ]);
    for arrays in [by_name, by_place] {
        let samples = arrays.samples(&forms, &[]).expect("fits");
        assert_eq!(samples.inputs[1], vec![vec![2.0, 3.0], vec![12.0, 13.0]]);
    }
    let wrong = Arrays::new(vec![("tokens".into(), array(&[2, 2], 0.0))]);
    let error = wrong.samples(&forms, &[]).expect_err("missing").to_string();
    assert!(error.contains("ids") && error.contains("tokens"), "{error}");
}

#[test]
fn another_layout_is_an_error() {
    let forms = [form("x", &[1, 3, 4, 4], 0)];
    let samples = |shape: &[usize]| {
        let arrays = Arrays::new(vec![("x".into(), array(shape, 0.0))]);
        arrays.samples(&forms, &[])
    };
    assert!(samples(&[2, 3, 4, 4]).is_ok() && samples(&[2, 48]).is_ok());
    assert!(matches!(
        samples(&[2, 4, 4, 3]),
        Err(DataError::Layout { .. })
    ));
    assert!(matches!(samples(&[2, 3, 4]), Err(DataError::Shape { .. })));
}

#[test]
fn several_samples_of_json() {
    let one = |v: i32| format!("{{\"input_data\": [[{v}, 0]], \"output_data\": [[{v}]]}}");
    let list = format!("[{}, {}]", one(1), one(2));
    let lines = format!("{}\n{}\n", one(1), one(2));
    let named = "{\"x0\": [[1, 0], [2, 0]], \"y0\": [[1], [2]], \"about\": \"text\"}";
    for json in [list.as_str(), &lines, named] {
        let samples = Samples::from_json(json.as_bytes(), &[2]).expect(json);
        assert_eq!(
            samples.inputs,
            vec![vec![vec![1.0, 0.0]], vec![vec![2.0, 0.0]]]
        );
        assert_eq!(
            samples.outputs,
            Some(vec![vec![vec![1.0]], vec![vec![2.0]]])
        );
    }
    for wrong in [
        "[]x",
        "{\"x0\": [[1, 0], [2]]}",
        "[{\"input_data\": [[1]]}, {\"input_data\": []}]",
    ] {
        assert!(
            Samples::from_json(wrong.as_bytes(), &[2]).is_err(),
            "{wrong}"
        );
    }
}
