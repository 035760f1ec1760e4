//! QR codes on a terminal.

use meow::{Error, ErrorKind};
use qrcode::render::unicode::Dense1x2;
use qrcode::{EcLevel, QrCode};

/// Draws a text, two modules per character. The characters are the light part, as a terminal that writes light
/// on dark shows it right; [`colored`] makes it right on every terminal.
pub(super) fn draw(text: &str) -> Result<String, Error> {
    let code = QrCode::with_error_correction_level(text, EcLevel::L).map_err(|e| {
        Error::new(
            ErrorKind::Limit,
            format!("the card does not fit into a QR code: {e}; hand over the URI or the file"),
        )
    })?;
    Ok(code.render::<Dense1x2>().dark_color(Dense1x2::Light).light_color(Dense1x2::Dark).build())
}

/// The drawing in white on black, whatever the colours of the terminal.
pub(super) fn colored(drawing: &str) -> String {
    let lines: Vec<String> =
        drawing.lines().map(|line| format!("\u{1b}[38;5;231;48;5;16m{line}\u{1b}[0m")).collect();
    lines.join("\n")
}
