//! Policies: of each contact, and the one that new contacts get.

use std::sync::Arc;

use meow_core::policy::Policy;
use meow_core::store::{StoreTxn, Table};
use meow_core::{Error, ErrorKind, Result};
use serde::{Deserialize, Serialize};

use crate::client::{Client, Inner, blocking};
use crate::cover::{plan, stands_still};
use crate::others::mailboxes_changed;
use crate::records::{contact, contact_of, load, policy_text, save};
use crate::unlock::Unlock;

/// Key of the policy that new contacts get.
const DEFAULT: &[u8] = b"policy";

#[derive(Default, Serialize, Deserialize)]
struct Kept(#[serde(with = "policy_text")] Policy);

/// The policy that new contacts get.
pub(crate) fn default_policy(txn: &dyn StoreTxn) -> Result<Policy> {
    Ok(load::<Kept>(txn, Table::Meta, DEFAULT)?.unwrap_or_default().0)
}

impl Client {
    /// The policy of a contact.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn policy(&self, name: &str) -> Result<Policy> {
        let name = name.to_owned();
        self.inner.read(move |txn| Ok(contact(txn, &contact_of(txn, &name)?)?.policy)).await
    }

    /// Sets the policy of a contact. One that protects less than the one before needs the password: give it with
    /// [`weaken_policy`](Self::weaken_policy).
    ///
    /// # Errors
    /// `NotFound`; `Usage` for a policy that does not hold ([`Policy::check`]), or that begins cover traffic where radio alone
    /// leads to the contact's servers; `WrongSecret` for one that protects less.
    ///
    /// # Cancel safety
    /// Dropping the future sets the policy or does not.
    pub async fn set_policy(&self, name: &str, policy: Policy) -> Result<()> {
        self.inner.change_policy(name, policy, false).await
    }

    /// Sets the policy of a contact, whatever it protects.
    ///
    /// # Errors
    /// As [`set_policy`](Self::set_policy); `WrongSecret` for another password.
    ///
    /// # Cancel safety
    /// Dropping the future sets the policy or does not.
    pub async fn weaken_policy(&self, name: &str, policy: Policy, unlock: &Unlock) -> Result<()> {
        self.inner.check_password(unlock).await?;
        self.inner.change_policy(name, policy, true).await
    }

    /// The policy that new contacts get, and by which cards are made and taken.
    ///
    /// # Errors
    /// `Damaged`, `System`.
    pub async fn default_policy(&self) -> Result<Policy> {
        self.inner.default_policy().await
    }

    /// Sets the policy that new contacts get, and by which cards are made and taken. Contacts keep theirs.
    ///
    /// # Errors
    /// As [`set_policy`](Self::set_policy).
    pub async fn set_default_policy(&self, policy: Policy) -> Result<()> {
        self.inner.change_default(policy, false).await
    }

    /// Sets the policy that new contacts get, whatever it protects.
    ///
    /// # Errors
    /// As [`weaken_policy`](Self::weaken_policy).
    pub async fn weaken_default_policy(&self, policy: Policy, unlock: &Unlock) -> Result<()> {
        self.inner.check_password(unlock).await?;
        self.inner.change_default(policy, true).await
    }
}

impl Inner {
    pub(crate) async fn default_policy(self: &Arc<Self>) -> Result<Policy> {
        self.read(default_policy).await
    }

    /// # Errors
    /// `WrongSecret`.
    pub(crate) async fn check_password(self: &Arc<Self>, unlock: &Unlock) -> Result<()> {
        let (inner, unlock) = (Arc::clone(self), unlock.clone());
        blocking(move || inner.keys.root(&unlock).map(|_| ())).await
    }

    async fn change_default(self: &Arc<Self>, policy: Policy, weaken: bool) -> Result<()> {
        policy.check()?;
        self.write(move |txn, _| {
            may_replace(&default_policy(txn)?, &policy, weaken)?;
            save(txn, Table::Meta, DEFAULT, &Kept(policy))
        })
        .await
    }

    async fn change_policy(self: &Arc<Self>, name: &str, policy: Policy, weaken: bool) -> Result<()> {
        policy.check()?;
        let name = name.to_owned();
        let set = policy.clone();
        let change = move |txn: &mut dyn StoreTxn, inner: &Self| {
            let id = contact_of(txn, &name)?;
            let mut record = contact(txn, &id)?;
            may_replace(&record.policy, &policy, weaken)?;
            let covered = record.policy.cover.is_some();
            let recopied = record.policy.copies != policy.copies;
            record.policy = policy;
            if recopied {
                inner.assess_all(txn, &record, None)?;
            }
            if record.policy.cover.is_some()
                && !covered
                && let Some(scarce) = stands_still(inner, &record)
            {
                return Err(Error::new(ErrorKind::Usage, format!("no cover traffic: {scarce}")));
            }
            record.machine.set_padding(record.policy.least_size());
            plan(txn, inner, &id, &record.policy)?;
            // A store that may be an older copy seals nothing; the wish goes out once it is proven.
            if inner.is_fresh(&id) {
                inner.answer(txn, &id, &mut record)?;
            }
            mailboxes_changed(txn)?;
            save(txn, Table::Contacts, id.as_bytes(), &record)?;
            Ok(id)
        };
        let id = self.write(change).await?;
        // Only now, when whatever is begun finds the new policy.
        self.direct.obey(&id, &set);
        // Polls that are under way go by the old routes: they start over.
        self.mailboxes.notify_waiters();
        self.outbox.notify_one();
        Ok(())
    }
}

fn may_replace(old: &Policy, new: &Policy, weaken: bool) -> Result<()> {
    if weaken || !old.protects_more_than(new) {
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::WrongSecret,
        "this policy protects less than the one before, which needs the password once more",
    ))
}
