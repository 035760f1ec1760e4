//! Where the bytes go: a serial device by its path, or any other stream.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_serial::{
    DataBits, FlowControl, Parity, SerialPort as _, SerialPortBuilderExt as _, SerialStream, StopBits,
};

use crate::config::Settings;

/// A stream of bytes to a modem or another station, and from it.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// An open stream.
pub type BoxStream = Box<dyn Stream>;

/// How a device is opened, each time that it is there (again).
pub(crate) type Open = Arc<dyn Fn(&Settings) -> io::Result<Device> + Send + Sync>;

/// What is written to and read from.
pub(crate) enum Device {
    Port(SerialStream),
    Other(BoxStream),
}

impl Device {
    fn stream(&mut self) -> Pin<&mut dyn Stream> {
        match self {
            Self::Port(port) => Pin::new(port),
            Self::Other(stream) => Pin::new(stream),
        }
    }
}

/// One of those who use an open device; it is closed with the last one.
#[derive(Clone)]
pub(crate) struct Half(Arc<Mutex<Device>>);

impl Half {
    pub(crate) fn new(device: Device) -> Self {
        Self(Arc::new(Mutex::new(device)))
    }

    /// Whether everything that was written has left, as far as the system knows. Other streams take bytes when they can.
    pub(crate) fn is_drained(&self) -> bool {
        match &*self.device() {
            // What a driver cannot say is taken by the clock.
            Device::Port(port) => port.bytes_to_write().is_ok_and(|waiting| waiting == 0),
            Device::Other(_) => true,
        }
    }

    fn device(&self) -> MutexGuard<'_, Device> {
        // Nothing is done to it but single calls.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl AsyncRead for Half {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.device().stream().poll_read(cx, buf)
    }
}

impl AsyncWrite for Half {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.device().stream().poll_write(cx, buf)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.device().stream().poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.device().stream().poll_shutdown(cx)
    }
}

/// Opens the device that the path names; it is locked against everybody else who locks it.
pub(crate) fn by_path(settings: &Settings) -> io::Result<Device> {
    let flow = if settings.hardware_flow { FlowControl::Hardware } else { FlowControl::None };
    let opened = tokio_serial::new(settings.path(), settings.baud())
        .data_bits(DataBits::Eight)
        .parity(Parity::None)
        .stop_bits(StopBits::One)
        .flow_control(flow)
        .open_native_async();
    match opened {
        Ok(device) => Ok(Device::Port(device)),
        // The library calls a device that is locked "no device" too.
        Err(e) if matches!(e.kind, tokio_serial::ErrorKind::NoDevice) && is_there(settings) => {
            Err(io::ErrorKind::ResourceBusy.into())
        }
        Err(e) => Err(e.into()),
    }
}

fn is_there(settings: &Settings) -> bool {
    std::fs::metadata(settings.path()).is_ok()
}
