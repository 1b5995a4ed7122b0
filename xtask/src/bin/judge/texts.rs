//! Arrays of texts as numpy stores them: as fixed-width unicode, or pickled.

/// Number of samples and all texts of an `.npy` file, if it holds texts.
pub fn texts(npy: &[u8]) -> Option<(usize, Vec<String>)> {
    let len = usize::from(u16::from_le_bytes([*npy.get(8)?, *npy.get(9)?]));
    let header = std::str::from_utf8(npy.get(10..10 + len)?).ok()?;
    let data = npy.get(10 + len..)?;
    let kind = header.split_once("'descr': '")?.1.split('\'').next()?;
    let shape = header.split_once("'shape': (")?.1.split(')').next()?;
    let shape: Vec<usize> = shape
        .split(',')
        .filter_map(|d| d.trim().parse().ok())
        .collect();
    let all = match kind {
        "|O" => pickled(data)?,
        _ => unicode(data, kind.strip_prefix("<U")?.parse().ok()?),
    };
    (all.len() == shape.iter().product::<usize>()).then_some((*shape.first()?, all))
}

fn unicode(data: &[u8], width: usize) -> Vec<String> {
    let letter = |c: &[u8]| {
        let code = c.try_into().map_or(0, u32::from_le_bytes);
        char::from_u32(code).filter(|c| *c != '\0')
    };
    data.chunks_exact(4 * width.max(1))
        .map(|text| text.chunks_exact(4).filter_map(letter).collect())
        .collect()
}

/// The texts of the list in a pickle of protocol 4 of an array: what stands between the last mark and the end of the list.
fn pickled(data: &[u8]) -> Option<Vec<String>> {
    let mut memo: Vec<Option<String>> = Vec::new();
    let (mut at, mut list, mut last) = (0, None, None);
    while let Some(&code) = data.get(at) {
        at += 1;
        match code {
            // A short text, a text.
            0x8c | b'X' => {
                let width = if code == b'X' { 4 } else { 1 };
                let size = data.get(at..at + width)?;
                let size = size.iter().rev().fold(0, |n, &b| n << 8 | usize::from(b));
                at += width;
                let text = std::str::from_utf8(data.get(at..at + size)?).ok()?;
                at += size;
                last = Some(text.to_owned());
                if let Some(list) = &mut list {
                    Vec::push(list, text.to_owned());
                }
            }
            // Remembered.
            0x94 => memo.push(last.take()),
            // Recalled.
            b'h' => {
                let text = memo.get(usize::from(*data.get(at)?))?.clone();
                at += 1;
                if let (Some(list), Some(text)) = (&mut list, text) {
                    list.push(text);
                }
            }
            b']' => list = Some(Vec::new()),
            b'e' => return list,
            // Protocol, small number; frame; number; short bytes.
            0x80 | b'K' => at += 1,
            0x95 => at += 8,
            b'J' => at += 4,
            b'C' => at += 1 + usize::from(*data.get(at)?),
            // Without operands.
            b'(' | b'R' | b't' | b'b' | b'N' | b'.' | 0x85..=0x89 | 0x93 => {}
            _ => return None,
        }
    }
    None
}
