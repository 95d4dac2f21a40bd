//! Making the values in a log line safe.

use qanat_plan::Escape;

const HEX: &[u8; 16] = b"0123456789ABCDEF";

/// Appends `value` so that it cannot be taken for something else than a value.
pub fn escape(value: &[u8], escaping: Escape, out: &mut Vec<u8>) {
    match escaping {
        Escape::Default => value.iter().for_each(|byte| escape_default(*byte, out)),
        Escape::Json => value.iter().for_each(|byte| escape_json(*byte, out)),
        Escape::None => out.extend_from_slice(value),
    }
}

fn escape_default(byte: u8, out: &mut Vec<u8>) {
    match byte {
        b'"' | b'\\' | 0..0x20 | 0x7f.. => push_hex(b"\\x", byte, out),
        _ => out.push(byte),
    }
}

/// JSON escapes (RFC 8259 §7); bytes over 0x7f are copied, as they are UTF-8 in a JSON text.
fn escape_json(byte: u8, out: &mut Vec<u8>) {
    let short = match byte {
        b'"' | b'\\' => byte,
        b'\n' => b'n',
        b'\r' => b'r',
        b'\t' => b't',
        0x08 => b'b',
        0x0c => b'f',
        0..0x20 => return push_hex(b"\\u00", byte, out),
        _ => return out.push(byte),
    };
    out.extend_from_slice(&[b'\\', short]);
}

fn push_hex(prefix: &[u8], byte: u8, out: &mut Vec<u8>) {
    out.extend_from_slice(prefix);
    out.extend([byte >> 4, byte & 15].iter().filter_map(|digit| HEX.get(usize::from(*digit))));
}

/// Appends the text of an error log line: what would end the line early or upset a terminal is written as `\xHH`.
pub(crate) fn escape_message(text: &str, out: &mut Vec<u8>) {
    for byte in text.bytes() {
        match byte {
            0..0x20 | 0x7f => push_hex(b"\\x", byte, out),
            _ => out.push(byte),
        }
    }
}
