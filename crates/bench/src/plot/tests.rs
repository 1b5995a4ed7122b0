use super::*;

fn plot(name: &str) -> Plot {
    let point = |x: f64, y: f64| Point {
        x,
        y,
        spread: Some((y * 0.9, y * 1.2)),
        name: name.into(),
    };
    Plot {
        title: name.into(),
        x: Axis::log("parameters", Unit::Count),
        y: Axis::log("CPU time", Unit::Seconds),
        series: vec![Series {
            name: name.into(),
            points: vec![point(1e3, 1e-3), point(1e5, 2e-2), point(1e7, 1.5)],
            curve: Some(vec![(1e3, 1e-3), (1e7, 1.0)]),
        }],
        level: Some((5e-2, "target".into())),
    }
}

#[test]
fn a_plot_is_well_formed_and_labelled() {
    let svg = plot("prove").svg().unwrap();
    for document in [svg.clone(), file(&svg)] {
        let tree = roxmltree::Document::parse(&document).unwrap();
        let texts: Vec<&str> = tree
            .descendants()
            .filter(|n| n.has_tag_name(("http://www.w3.org/2000/svg", "text")))
            .filter_map(|n| n.text())
            .collect();
        for text in ["prove", "parameters", "10k", "1M", "10 ms", "1 s", "target"] {
            assert!(texts.contains(&text), "{text} is missing in {texts:?}");
        }
        let titles: Vec<&str> = tree
            .descendants()
            .filter(|n| n.has_tag_name(("http://www.w3.org/2000/svg", "title")))
            .filter_map(|n| n.text())
            .collect();
        assert_eq!(
            titles[1],
            "prove: 20.0 ms at 100 k (quartiles 18.0 ms to 24.0 ms)"
        );
    }
    assert!(file(&svg).contains("prefers-color-scheme: dark"));
}

#[test]
fn hostile_names_stay_text() {
    let name = "</text></svg><script>alert(1)</script>\" onload=\"x";
    let svg = plot(name).svg().unwrap();
    assert!(!svg.contains("<script"), "{svg}");
    let tree = roxmltree::Document::parse(&svg).unwrap();
    assert!(tree.descendants().all(|n| n.attribute("onload").is_none()));
    assert_eq!(tree.root_element().attribute("aria-label"), Some(name));
}

#[test]
fn nothing_to_show_is_no_plot() {
    let mut empty = plot("x");
    empty.series[0].points.clear();
    assert_eq!(empty.svg(), None);
    let rows = Rows {
        title: "x".into(),
        axis: Axis::log("t", Unit::Seconds),
        series: vec!["wall".into()],
        rows: vec![],
    };
    assert_eq!(rows.svg(), None);
}

/// Values that an axis cannot show are left out, not drawn somewhere.
#[test]
fn values_outside_of_an_axis_are_left_out() {
    let mut odd = plot("x");
    odd.series[0].points[1].y = 0.0;
    odd.series[0].points[2].y = f64::NAN;
    let svg = odd.svg().unwrap();
    assert_eq!(svg.matches("<title>").count(), 1);
    assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
}

#[test]
fn rows_have_labels_and_values() {
    let value = |v: f64| {
        Some(Value {
            value: v,
            spread: Some((v, v * 1.1)),
        })
    };
    for axis in [
        Axis::linear("time", Unit::Seconds),
        Axis::log("time", Unit::Seconds),
    ] {
        let rows = Rows {
            title: "stages".into(),
            axis,
            series: vec!["wall".into(), "CPU".into()],
            rows: vec![
                Row {
                    label: "prove".into(),
                    values: vec![value(0.5), value(0.9)],
                },
                Row {
                    label: "verify".into(),
                    values: vec![value(5e-3), None],
                },
            ],
        };
        let svg = rows.svg().unwrap();
        roxmltree::Document::parse(&svg).unwrap();
        for text in [
            ">prove<",
            ">verify<",
            ">500 ms<",
            ">900 ms<",
            ">5.00 ms<",
            ">wall<",
            ">CPU<",
        ] {
            assert!(svg.contains(text), "{text}: {svg}");
        }
    }
}
