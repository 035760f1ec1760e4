//! The examples that stand below each `--help`.

pub(super) const MEOW: &str = "\
Examples:
  meow init --server 'https://relay.example#skp=...'   a new identity
  meow card new bob --out bob.card                     a card, to hand to Bob
  meow card take alice.card --as alice                 Alice's card, taken
  meow send alice 'Shall we meet?'                     a message
  meow receive --follow                                new messages, as they come

`meow COMMAND --help` shows more. `meow --help` explains exit codes and environment.";

pub(super) const MEOW_LONG: &str = "\
Examples:
  meow init --server 'https://relay.example#skp=...'   a new identity
  meow card new bob --out bob.card                     a card, to hand to Bob
  meow card take alice.card --as alice                 Alice's card, taken
  meow send alice 'Shall we meet?'                     a message
  meow receive --follow                                new messages, as they come

Environment:
  MEOW_HOME       the folder of the identity, like --home
  MEOW_PASSWORD   its password; otherwise --password-file or the terminal

Exit codes:
  0  done
  1  failed in another way than those below
  2  wrong usage; nothing was done
  3  safe in the queue, but not (yet) as far as was asked for
  4  wrong password
  5  no such identity, contact, message, server or file
  6  a server cannot be reached
  7  refused by a server or a limit, or used up: an expired or used card, a name that is taken,
     a file that exists
  8  data that is damaged or of a newer version: store, card, answer
  9  another server answers than the one asked for

Output: one record a line. With --json, one object a line, and errors as {\"error\":KIND,\"message\":TEXT} on \
standard error; docs/guide/cli.md lists the fields.";

pub(super) const INIT: &str = "\
Examples:
  meow init --server 'https://relay.example#skp=...'
  meow --home ~/work-meow init        a second identity, in a folder of its own
  MEOW_PASSWORD=... meow --json init  for scripts; the words are the field `words`";

pub(super) const SERVER: &str = "\
Examples:
  meow server add 'https://relay.example#skp=...&invite=...'
  meow server list
  meow server move https://relay.example 'https://new.example#skp=...'
  meow server remove https://relay.example

The reference is what `meowd` prints when it is ready, or what `meowd invite` gives for one person. The part \
after # says which key the server must prove.";

pub(super) const HOP: &str = "\
Examples:
  meow hop add --trust 'https://relay.example#skp=...'
  meow hop add --pool friends --operator Ann 'https://relay.example.net#skp=...'
  meow hop list

Chains begin at servers that you trust, and go on through others that those know. A server that you do not \
trust is not asked anything: it would learn your address.";

pub(super) const POLICY: &str = "\
Examples:
  meow policy bob                                      shows it
  meow policy bob --set routes=matriochka --set hops=4
  meow policy bob --set routes=direct,server --set receipts=none
  meow policy bob --set padding=2048 --dry-run         only says what that would cost
  meow policy --new-contacts --set routes=matriochka   also for taking cards
  meow policy bob > bob.toml && meow policy carol --from bob.toml

Keys:
  routes        what is allowed, in order: server, direct, matriochka
  hops          servers of a chain, the mailbox server counted: 2 to 5
  first         from which servers the first of a chain is drawn: trusted, pool:NAME, known
  between       from which servers those between are drawn: trusted, pool:NAME, known
  delay_ms      mean delay at each server of a chain: 0 to 20000, for 3 servers to 12000
  authenticity  signed, deniable
  receipts      what the contact is told: none, decrypted, read
  form          by-link, thin, whole
  presence      whether the contact may find this device: false, true
  copies        at how many of the contact's servers each message is stored: 1 to 4
  padding       size to which messages are padded at least: 256, 512, 2048, 8192, 32768
  cover         mean pause between messages, with ones that say nothing where none waits: none, 10m, 6/h
  loops         mean pause between packets that go round through chains: none, 10m, 6/h

What is not allowed is not done: where no route works, messages wait, and `meow status` says why. A policy that \
protects less than the one before needs the password once more.";

pub(super) const ROUTE: &str = "\
Examples:
  meow route bob
  meow --json route bob

Each line is one allowed route to one mailbox server. A chain is an example: each packet draws another.";

pub(super) const CARD: &str = "\
Examples:
  meow card new bob --out bob.card    then hand bob.card to Bob, over a way that you both trust
  meow card take alice.card --as alice

A card works once. Whoever sees it first can take it: compare safety codes afterwards (`meow verify`).";

pub(super) const CARD_NEW: &str = "\
Examples:
  meow card new bob                   prints the URI
  meow card new bob --qr              and draws it, to be photographed
  meow card new bob --out bob.card    and writes a file, which works while your server is unreachable
  meow card new bob --days 1          for a day only

A server of yours that does not answer is left out of the card, and named on standard error: `meow rotate bob` adds it \
once Bob is established. At least as many must answer as the policy for new contacts asks for copies.

You see the answer with `meow receive`.";

pub(super) const CARD_TAKE: &str = "\
Examples:
  meow card take alice.card --as alice
  meow card take - --as alice --greeting 'Bob here'      the URI on standard input
  meow card take 'meow:...' --as alice                   other users of the machine may see it then

Exit code 3: the card is taken, and the answer waits to be sent.";

pub(super) const CONTACTS: &str = "\
Examples:
  meow contacts
  meow contacts --presence     and who is online, of those that may be reached directly
  meow --json contacts

Status: card_out, your card was not answered yet; confirming, keys are being confirmed; established, messages \
flow; renewing, keys are being made anew.";

pub(super) const DIRECT: &str = "\
Examples:
  meow direct bob                      shows what is allowed, and whether Bob is online
  meow direct bob --allow --show       direct links where they work, and Bob may find this device
  meow direct bob --at udp://192.168.1.7:41325
  meow direct bob --deny

A direct link shows your address to the contact, and the contact's to you: both of you have to allow it. This device \
can be dialled while `meow receive --follow --listen udp://0.0.0.0:41325` runs.";

pub(super) const CONTACT: &str = "\
Examples:
  meow contact rename bob robert
  meow contact remove robert";

pub(super) const VERIFY: &str = "\
Examples:
  meow verify bob             shows the code: twelve groups of five digits
  meow verify bob --confirm   after both of you have seen the same code

Compare in person or in a call where you know the voice, never by a message over Meow itself.";

pub(super) const SEND: &str = "\
Examples:
  meow send bob 'See you at eight'
  echo 'a longer text' | meow send bob -
  meow send bob 'Back-up done' --wait decrypted --timeout 60

Prints the message's id and how far it has come: queued (on this device), stored (at a server of the contact), \
decrypted (signed for by the contact's device), read. Exit code 3 means: not so far yet, but safe in the queue; \
any later command that goes to the network sends it.";

pub(super) const RECEIVE: &str = "\
Examples:
  meow receive                what has come
  meow receive --wait 60      and if there is nothing, waits for it up to a minute
  meow receive --follow       until stopped
  meow receive --follow --listen udp://0.0.0.0:41325    and can be dialled by contacts that may (`meow direct`)
  meow --json receive --follow | while read -r line; do ...; done

What was printed counts as read and is not printed again. A crash in between repeats a line rather than losing \
it: `number` (--json) tells.";

pub(super) const STATUS: &str = "\
Examples:
  meow status         a summary, and the messages that have not arrived
  meow status m17     one message";

pub(super) const LOG: &str = "\
Examples:
  meow log bob
  meow log bob --limit 20
  meow log bob --search 'train tick'";

pub(super) const PASSWORD: &str = "\
Examples:
  meow password
  MEOW_PASSWORD=old MEOW_NEW_PASSWORD=new meow password

The 24 words stay the same.";

pub(super) const DOCTOR: &str = "\
Examples:
  meow doctor
  meow --json doctor

Exit code 0 when all is well, 1 when something is not. When the identity does not open, the code says why.";

pub(super) const ROTATE: &str = "\
Examples:
  meow rotate bob

Both mailboxes are read until Bob's device knows the new one, then the old one is closed. New mailboxes are made \
on the servers that `meow server list` shows: this is also how to move a contact to another server. One that does \
not answer is named, and added by a later `meow receive` once it does.";

pub(super) const COMPLETIONS: &str = "\
Examples:
  meow completions bash > ~/.local/share/bash-completion/completions/meow
  meow completions fish > ~/.config/fish/completions/meow.fish";
