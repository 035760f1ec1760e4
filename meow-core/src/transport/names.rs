//! From a host to the addresses that are dialled, in one step (ATTACKS 44): a name is looked up once, what the rule does not
//! permit is left out, and what is left is dialled. Nobody looks the name up again in between, when it may say something else.

use std::fmt;
use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use super::{Addresses, BoxFuture, Host};

/// Looks names up in place of the system: an application's own way to ask, or a test's answers.
pub trait Resolve: Send + Sync + 'static {
    /// The addresses of a name now.
    ///
    /// # Errors
    /// Whatever keeps the name from being known.
    fn resolve<'a>(&'a self, name: &'a str) -> BoxFuture<'a, io::Result<Vec<IpAddr>>>;
}

/// Who is asked for the addresses of names: the system, unless something else is said.
#[derive(Clone, Default)]
pub struct Names(Option<Arc<dyn Resolve>>);

/// Why there is nothing to dial.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LookupError {
    /// The name is not known.
    #[error("the host's name cannot be resolved")]
    Unknown(#[from] io::Error),
    /// It has addresses, none of which may be dialled.
    #[error("the address is not one that may be dialled")]
    NotPermitted,
}

impl Names {
    /// The system.
    pub const fn system() -> Self {
        Self(None)
    }

    /// This one.
    pub fn by(resolver: impl Resolve) -> Self {
        Self(Some(Arc::new(resolver)))
    }

    /// The addresses of a host that may be dialled, in the order of the answer. `system` asks the system; it is not called for
    /// an address, nor where somebody else is asked. Empty if the name has no address at all.
    ///
    /// # Errors
    /// See [`LookupError`].
    ///
    /// # Cancel safety
    /// Dropping the future gives the question up.
    pub async fn permitted<F, I>(
        &self,
        host: &Host,
        port: u16,
        rule: &Addresses,
        system: impl FnOnce(String, u16) -> F,
    ) -> Result<Vec<SocketAddr>, LookupError>
    where
        F: Future<Output = io::Result<I>>,
        I: Iterator<Item = SocketAddr>,
    {
        let mut found: Vec<SocketAddr> = match (host, &self.0) {
            (Host::Ip(address), _) => vec![SocketAddr::new(*address, port)],
            (Host::Name(name), None) => system(name.clone(), port).await?.collect(),
            (Host::Name(name), Some(resolver)) => {
                resolver.resolve(name).await?.into_iter().map(|ip| SocketAddr::new(ip, port)).collect()
            }
        };
        let any = !found.is_empty();
        found.retain(|address| rule.permits(address.ip()));
        if any && found.is_empty() { Err(LookupError::NotPermitted) } else { Ok(found) }
    }
}

impl fmt::Debug for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Names(own)" } else { "Names(system)" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Fixed(Vec<IpAddr>);
    impl Resolve for Fixed {
        fn resolve<'a>(&'a self, name: &'a str) -> BoxFuture<'a, io::Result<Vec<IpAddr>>> {
            assert_eq!(name, "cat.example");
            let found = self.0.clone();
            Box::pin(async move { Ok(found) })
        }
    }

    async fn nobody(_: String, _: u16) -> io::Result<std::vec::IntoIter<SocketAddr>> {
        Err(io::Error::other("the system was asked"))
    }

    /// What needs no waiting.
    fn now<T>(future: impl Future<Output = T>) -> T {
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        match std::pin::pin!(future).poll(&mut context) {
            std::task::Poll::Ready(value) => value,
            std::task::Poll::Pending => panic!("it waits"),
        }
    }

    #[test]
    fn a44_of_what_a_name_leads_to_only_what_is_permitted_is_left() {
        let (inside, outside): (IpAddr, IpAddr) = ([10, 0, 0, 1].into(), [1, 1, 1, 1].into());
        let rule = Addresses::public();
        let name = Host::Name("cat.example".into());
        let both = Names::by(Fixed(vec![inside, outside, "::ffff:10.0.0.1".parse().unwrap()]));
        let found = now(both.permitted(&name, 7, &rule, nobody)).unwrap();
        assert_eq!(found, [SocketAddr::new(outside, 7)]);
        let found = now(both.permitted(&Host::Ip(outside), 7, &rule, nobody)).unwrap();
        assert_eq!(found, [SocketAddr::new(outside, 7)]);
        let refused = now(both.permitted(&Host::Ip(inside), 7, &rule, nobody));
        assert!(matches!(refused, Err(LookupError::NotPermitted)));
        let only = Names::by(Fixed(vec![inside]));
        let refused = now(only.permitted(&name, 7, &rule, nobody));
        assert!(matches!(refused, Err(LookupError::NotPermitted)));
        assert_eq!(now(only.permitted(&name, 7, &Addresses::any(), nobody)).unwrap().len(), 1);
        let none = Names::by(Fixed(Vec::new()));
        assert_eq!(now(none.permitted(&name, 7, &rule, nobody)).unwrap(), []);
        let unknown = now(Names::system().permitted(&name, 7, &rule, nobody));
        assert!(matches!(unknown, Err(LookupError::Unknown(_))));
        assert_eq!(format!("{both:?} {:?}", Names::system()), "Names(own) Names(system)");
    }
}
