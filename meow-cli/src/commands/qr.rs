//! QR codes on a terminal.

use meow::{Error, ErrorKind};
use qrcode::render::unicode::Dense1x2;
use qrcode::{EcLevel, QrCode};

/// Draws a text, two modules per character, dark on light on a dark terminal as well as on a light one.
pub(super) fn draw(text: &str) -> Result<String, Error> {
    let code = QrCode::with_error_correction_level(text, EcLevel::L).map_err(|e| {
        Error::new(
            ErrorKind::Limit,
            format!("the card does not fit into a QR code: {e}; hand over the URI or the file"),
        )
    })?;
    // On a dark terminal the characters are the light part.
    Ok(code
        .render::<Dense1x2>()
        .dark_color(Dense1x2::Dark)
        .light_color(Dense1x2::Light)
        .quiet_zone(true)
        .build())
}
