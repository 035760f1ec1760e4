//! Meow links over HTTP and HTTPS.
