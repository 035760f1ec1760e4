//! `meowd invite`.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use meow_core::crypto::{HashLabel, Random as _, SystemRandom, hash};
use meow_core::lane::ServerReference;
use meow_core::store::MailboxStore as _;
use meow_core::wire::Text;
use meow_core::{Error, ErrorKind, Result};
use zeroize::Zeroizing;

use crate::args::InviteArgs;
use crate::data::Data;
use crate::info::set_clock;
use crate::print;

pub(crate) fn invite(args: &InviteArgs) -> Result<()> {
    let data = Data::at(args.place.data.clone());
    let identity = data.identity()?;
    let known = match &args.public_url {
        Some(url) => {
            Some(ServerReference { url: url.clone(), fingerprint: *identity.fingerprint(), invite: None })
        }
        None => data.reference(&identity)?,
    };
    let reference = known.ok_or_else(|| {
        let text = "the relay's URL is not known before its first start: start it, or give --public-url";
        Error::new(ErrorKind::NotFound, text)
    })?;
    let expires = set_clock()? + u64::from(args.days) * 24 * 3600;

    let mut bytes = Zeroizing::new([0; 16]);
    SystemRandom.fill(&mut *bytes)?;
    let code = Zeroizing::new(URL_SAFE_NO_PAD.encode(*bytes));
    data.store_beside(&identity)?.add_invite(
        &hash(HashLabel::Invite, &[code.as_bytes()]),
        args.uses,
        expires,
    )?;
    let invite = Text::new(code.as_str()).map_err(|_| Error::new(ErrorKind::Bug, "the code is too long"))?;
    let reference = ServerReference { invite: Some(invite), ..reference };
    print(Zeroizing::new(format!("{reference}\n")).as_bytes())
}
