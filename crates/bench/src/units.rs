//! Numbers for people: times, sizes, counts, ratios, with units and about three digits.

/// Three significant digits, without an exponent.
fn digits(value: f64) -> String {
    let places = if value == 0.0 {
        0
    } else {
        (2.0 - value.abs().log10().floor()).clamp(0.0, 9.0) as usize
    };
    // Rounding may carry into one digit more.
    let text = format!("{value:.places$}");
    let significant = text.trim_start_matches(['-', '0', '.']).chars();
    match places.checked_sub(1) {
        Some(fewer) if significant.filter(char::is_ascii_digit).count() > 3 => {
            format!("{value:.fewer$}")
        }
        _ => text,
    }
}

/// Seconds as `340 ns`, `12.3 µs`, `4.56 ms`, `7.89 s`, `2.5 min` or `3.1 h`.
pub fn time(seconds: f64) -> String {
    if !seconds.is_finite() {
        return "∞".into();
    }
    let (value, unit) = match seconds.abs() {
        0.0 => (0.0, "s"),
        s if s < 0.9995e-6 => (seconds * 1e9, "ns"),
        s if s < 0.9995e-3 => (seconds * 1e6, "µs"),
        s if s < 0.9995 => (seconds * 1e3, "ms"),
        s if s < 120.0 => (seconds, "s"),
        s if s < 7200.0 => (seconds / 60.0, "min"),
        _ => (seconds / 3600.0, "h"),
    };
    format!("{} {unit}", digits(value))
}

/// Bytes as `17 B`, `4.65 kB`, `1.2 MB` or `3.4 GB` (powers of 1000).
pub fn bytes(bytes: u64) -> String {
    let value = bytes as f64;
    match bytes {
        0..1_000 => format!("{bytes} B"),
        1_000..999_500 => format!("{} kB", digits(value / 1e3)),
        999_500..999_500_000 => format!("{} MB", digits(value / 1e6)),
        _ => format!("{} GB", digits(value / 1e9)),
    }
}

/// A count as `17`, `4,650` or, from 100,000 on, `1.23 M`.
pub fn count(count: u64) -> String {
    let value = count as f64;
    match count {
        0..1_000 => count.to_string(),
        1_000..100_000 => format!("{},{:03}", count / 1_000, count % 1_000),
        100_000..999_500 => format!("{} k", digits(value / 1e3)),
        999_500..999_500_000 => format!("{} M", digits(value / 1e6)),
        _ => format!("{} G", digits(value / 1e9)),
    }
}

/// A ratio as `0.12`, `3.4`, `57` or `12,300`: two or three digits.
pub fn ratio(ratio: f64) -> String {
    if !ratio.is_finite() {
        return "∞".into();
    }
    if ratio.abs() >= 1e6 {
        return count(ratio.abs().round() as u64);
    }
    if ratio.abs() >= 1e3 {
        let step = 10f64.powf(ratio.abs().log10().floor() - 2.0).max(1.0);
        let whole = ((ratio / step).round() * step) as u64;
        return format!("{},{:03}", whole / 1_000, whole % 1_000);
    }
    digits(ratio)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times() {
        let shown = [
            0.0, 3.4e-7, 1.234e-5, 4.56e-3, 0.9996, 7.891, 150.0, 11_160.0,
        ]
        .map(time);
        let wanted = [
            "0 s", "340 ns", "12.3 µs", "4.56 ms", "1.00 s", "7.89 s", "2.50 min", "3.10 h",
        ];
        assert_eq!(shown, wanted);
        assert_eq!([9.999e-3, 99.96e-3].map(time), ["10.0 ms", "100 ms"]);
    }

    #[test]
    fn sizes_and_counts() {
        let shown = [17, 4_650, 999_600, 1_200_000, 3_400_000_000].map(bytes);
        assert_eq!(shown, ["17 B", "4.65 kB", "1.00 MB", "1.20 MB", "3.40 GB"]);
        let shown = [17, 4_650, 123_456, 1_234_567, 4_000_000_000].map(count);
        assert_eq!(shown, ["17", "4,650", "123 k", "1.23 M", "4.00 G"]);
    }

    #[test]
    fn ratios() {
        let shown = [0.1234, 3.44, 57.2, 999.6, 12_345.0, 3.4e6, f64::INFINITY].map(ratio);
        assert_eq!(
            shown,
            ["0.123", "3.44", "57.2", "1000", "12,300", "3.40 M", "∞"]
        );
    }
}
