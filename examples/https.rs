//! Two people talk over HTTPS: a relay whose certificate comes from a certificate authority of one's own, and which lets in
//! only those who have an account. User and password stand in the URL that each person adds, and in nothing that is shown
//! or handed to others.

#![allow(clippy::print_stdout, reason = "this is what it is for")]

mod common;

use meow::http::{Account, ClientConfig, Http, Identity, Roots, ServerConfig};
use meow::server::Relay;
use meow::{Endpoint, ServerReference, Transports};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let dir = tempfile::tempdir()?;
    let (authority, identity) = certificates()?;

    let mut server = ServerConfig::default();
    server.identity = Some(identity);
    server.accounts = vec![account("alice", "purr"), account("bob", "hiss")];
    let relay = Relay::builder()
        .transports(Transports::new().with(Http::new(ClientConfig::default(), server)?))
        .listen("https://127.0.0.1:0".parse()?)
        .data(dir.path().join("relay"))?
        .start()
        .await?;
    println!("relay   {}", relay.reference());

    // Clients believe this authority and no other.
    let mut client = ClientConfig::default();
    client.roots = Roots::Only(authority);
    let transports = Transports::new().with(Http::new(client, ServerConfig::default())?);
    let mine = |account: &str| -> meow::Result<ServerReference> {
        let url = relay.reference().url.expose().replacen("://", &format!("://{account}@"), 1);
        let url: Endpoint = url.parse()?;
        println!("dials   {url}");
        Ok(ServerReference { url, ..relay.reference().clone() })
    };
    let alice = common::person(&dir.path().join("alice"), &transports, &mine("alice:purr")?).await?;
    let bob = common::person(&dir.path().join("bob"), &transports, &mine("bob:hiss")?).await?;
    common::chat(&alice, &bob).await?;

    let refused = common::person(&dir.path().join("eve"), &transports, &mine("eve:guess")?).await;
    println!("eve     {}", refused.err().ok_or("without an account nobody gets in")?.kind().name());
    relay.shutdown().await;
    Ok(dir.close()?)
}

fn account(user: &str, password: &str) -> Account {
    Account { user: user.into(), password: password.to_owned().into() }
}

/// The authority's certificate, and a certificate by it for this machine with its key: all PEM.
fn certificates() -> Result<(Vec<u8>, Identity), rcgen::Error> {
    let mut params = CertificateParams::new([])?;
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate()?;
    let authority = params.self_signed(&key)?;
    let issuer = Issuer::new(params, key);
    let key = KeyPair::generate()?;
    let leaf = CertificateParams::new(["127.0.0.1".to_owned()])?.signed_by(&key, &issuer)?;
    let identity = Identity { chain: leaf.pem().into(), key: key.serialize_pem().into_bytes().into() };
    Ok((authority.pem().into(), identity))
}
