//! Reads an HTTP/1.1 answer out of the bytes that came: its head, and its body by length, in
//! chunks, or to the connection's end. Pure: bytes in, an answer or what is wrong with it out.

use std::mem::MaybeUninit;
use std::ops::Range;

use http::StatusCode;
use httparse::{Header, ParserConfig, Response, Status};

use super::answer::BODY_MAX;

/// A head beyond this, interim answers before it included, is not read on.
pub const HEAD_MAX: usize = 64 << 10;
/// More headers than this are refused.
const HEADERS_MAX: usize = 100;
/// The size line of a chunk, with its extensions.
const CHUNK_LINE_MAX: usize = 4 << 10;
/// Room for an answer as IG gives them. A read that does not fill its room tells the runtime that
/// nothing is left, which spares a system call.
const ROOM: usize = 8 << 10;

/// What came of an answer, kept from one to the next so that it is not allocated each time.
#[derive(Debug, Default)]
pub struct Buffer {
    bytes: Vec<u8>,
    filled: usize,
}

impl Buffer {
    /// Forgets what came. What a large answer took is given back.
    pub fn clear(&mut self) {
        self.filled = 0;
        if self.bytes.len() > ROOM {
            self.bytes = Vec::new();
        }
    }

    /// Where the next bytes go; never empty.
    pub fn room(&mut self) -> &mut [u8] {
        if self.filled == self.bytes.len() {
            let size = (self.bytes.len() * 2).max(ROOM);
            self.bytes.resize(size, 0);
        }
        &mut self.bytes[self.filled..]
    }

    /// So many bytes came into the room.
    pub fn came(&mut self, count: usize) {
        self.filled += count;
    }

    /// What came.
    pub fn filled(&self) -> &[u8] {
        &self.bytes[..self.filled]
    }
}

/// A whole answer, or as much of it as is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    pub status: StatusCode,
    /// `Retry-After` as text.
    pub retry_after: Option<String>,
    /// Where in the buffer the body is, at most [`BODY_MAX`] bytes of it.
    pub body: Range<usize>,
    /// Whether that was all of it.
    pub whole: bool,
    /// Whether the connection can carry another exchange.
    pub reusable: bool,
}

/// Why an answer is none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Bad {
    /// It is not HTTP as we read it.
    Malformed(String),
    /// The connection ended before its end.
    Cut,
}

/// How far an answer was read.
#[derive(Debug)]
pub struct Reader {
    /// Bytes before this are done with: interim answers.
    start: usize,
    state: State,
    reply: Reply,
}

#[derive(Debug)]
enum State {
    Head,
    /// The body ends at this offset.
    Length(usize),
    Chunks(Chunk),
    ToEnd,
}

/// What of a chunk comes next.
#[derive(Debug, Clone, Copy)]
enum Chunk {
    Size,
    Data(u64),
    DataEnd,
    Trailer(usize),
}

impl Reader {
    /// Nothing was read yet.
    pub fn new() -> Self {
        Reader {
            start: 0,
            state: State::Head,
            reply: Reply {
                status: StatusCode::OK,
                retry_after: None,
                body: 0..0,
                whole: true,
                reusable: true,
            },
        }
    }

    /// Reads on after bytes came; none while more must come.
    pub fn read(&mut self, buffer: &mut Buffer) -> Result<Option<Reply>, Bad> {
        while matches!(self.state, State::Head) {
            if !self.head(buffer)? {
                return Ok(None);
            }
        }
        let done = match self.state {
            State::Head => false,
            State::Length(end) => {
                let limit = end.min(self.start + BODY_MAX);
                self.reply.whole = limit == end;
                // Bytes behind it are no answer to anything that we asked.
                self.reply.reusable &= self.reply.whole && buffer.filled <= end;
                self.reply.body = self.start..limit;
                buffer.filled >= limit
            }
            State::Chunks(chunk) => self.chunks(buffer, chunk)?,
            State::ToEnd => {
                let limit = buffer.filled.min(self.start + BODY_MAX);
                self.reply.whole = limit == buffer.filled;
                self.reply.body = self.start..limit;
                !self.reply.whole
            }
        };
        Ok(done.then(|| self.reply.clone()))
    }

    /// The connection has ended.
    pub fn end(&mut self) -> Result<Reply, Bad> {
        match self.state {
            State::ToEnd => Ok(self.reply.clone()),
            _ => Err(Bad::Cut),
        }
    }

    /// Reads a head; false while more of it must come. The state stays at the head behind an
    /// interim answer.
    fn head(&mut self, buffer: &Buffer) -> Result<bool, Bad> {
        let bytes = &buffer.filled()[self.start..];
        let mut headers = [const { MaybeUninit::<Header>::uninit() }; HEADERS_MAX];
        let mut head = Response::new(&mut []);
        let parsed = ParserConfig::default().parse_response_with_uninit_headers(
            &mut head,
            bytes,
            &mut headers,
        );
        let length = match parsed {
            Ok(Status::Complete(length)) if self.start + length <= HEAD_MAX => length,
            Ok(Status::Partial) if buffer.filled < HEAD_MAX => return Ok(false),
            Ok(_) => return bad(format!("a head of more than {HEAD_MAX} bytes")),
            Err(error) => return bad(format!("no HTTP/1 answer: {error}")),
        };
        self.start += length;
        let code = head.code.unwrap_or_default();
        // A 101 would leave HTTP: it is the answer.
        if (100..200).contains(&code) && code != 101 {
            return Ok(true);
        }
        let Ok(status) = StatusCode::from_u16(code) else {
            return bad(format!("status {code}"));
        };
        let framing = Framing::of(head.headers, head.version == Some(1))?;
        self.reply.status = status;
        self.reply.reusable = framing.keep;
        self.reply.retry_after = framing.retry_after;
        self.reply.body = self.start..self.start;
        let bodiless = matches!(code, 101 | 204 | 304);
        self.state = match (framing.chunked, framing.length) {
            _ if bodiless => State::Length(self.start),
            (Some(true), length) => {
                // Two lengths: whoever is in between may have meant the other one.
                self.reply.reusable &= length.is_none();
                State::Chunks(Chunk::Size)
            }
            (None, Some(length)) => State::Length(
                usize::try_from(length)
                    .map_or(usize::MAX, |length| self.start.saturating_add(length)),
            ),
            (Some(false), _) | (None, None) => {
                self.reply.reusable = false;
                State::ToEnd
            }
        };
        self.reply.reusable &= code != 101;
        Ok(true)
    }

    /// Reads chunks: their data is moved together behind the head, in place. True at the end.
    fn chunks(&mut self, buffer: &mut Buffer, mut chunk: Chunk) -> Result<bool, Bad> {
        let mut write = self.reply.body.end;
        let mut read = write;
        let filled = buffer.filled;
        let done = loop {
            let rest = &buffer.bytes[read..filled];
            match chunk {
                Chunk::Size => match httparse::parse_chunk_size(rest) {
                    Ok(Status::Complete((line, size))) => {
                        read += line;
                        chunk = match size {
                            0 => Chunk::Trailer(0),
                            size => Chunk::Data(size),
                        };
                    }
                    Ok(Status::Partial) if rest.len() <= CHUNK_LINE_MAX => break false,
                    Ok(Status::Partial) => return bad("a chunk's size line without an end"),
                    Err(_) => return bad("a chunk's size that is none"),
                },
                Chunk::Data(left) => {
                    let room = self.start + BODY_MAX - write;
                    let here =
                        usize::try_from(left).map_or(rest.len(), |left| left.min(rest.len()));
                    let take = here.min(room);
                    buffer.bytes.copy_within(read..read + take, write);
                    write += take;
                    read += take;
                    if take < here || (take == room && left > take as u64) {
                        self.reply.whole = false;
                        self.reply.reusable = false;
                        break true;
                    }
                    match left - take as u64 {
                        0 => chunk = Chunk::DataEnd,
                        left => {
                            chunk = Chunk::Data(left);
                            break false;
                        }
                    }
                }
                Chunk::DataEnd => match rest {
                    [b'\r', b'\n', ..] => {
                        read += 2;
                        chunk = Chunk::Size;
                    }
                    [] | [b'\r'] => break false,
                    _ => return bad("a chunk that is longer than its size"),
                },
                Chunk::Trailer(before) => {
                    let Some(line) = rest.iter().position(|&byte| byte == b'\n') else {
                        if before + rest.len() > HEAD_MAX {
                            return bad("trailers without an end");
                        }
                        break false;
                    };
                    read += line + 1;
                    if matches!(&rest[..line], [] | [b'\r']) {
                        self.reply.reusable &= read == filled;
                        break true;
                    }
                    if before + line > HEAD_MAX {
                        return bad("trailers without an end");
                    }
                    chunk = Chunk::Trailer(before + line);
                }
            }
        };
        buffer.bytes.copy_within(read..filled, write);
        buffer.filled = write + filled - read;
        self.reply.body.end = write;
        self.state = State::Chunks(chunk);
        Ok(done)
    }
}

fn bad<T>(what: impl Into<String>) -> Result<T, Bad> {
    Err(Bad::Malformed(what.into()))
}

/// What the headers say of the body and of the connection.
struct Framing {
    /// Whether chunks are the last coding; none without transfer codings.
    chunked: Option<bool>,
    length: Option<u64>,
    keep: bool,
    retry_after: Option<String>,
}

impl Framing {
    fn of(headers: &[Header<'_>], is_1_1: bool) -> Result<Self, Bad> {
        let mut framing = Framing {
            chunked: None,
            length: None,
            keep: is_1_1,
            retry_after: None,
        };
        let mut close = false;
        for header in headers {
            let is = |name: &str| header.name.eq_ignore_ascii_case(name);
            // By length first: most headers are none of these.
            match header.name.len() {
                14 if is("content-length") => framing.add_length(header.value)?,
                17 if is("transfer-encoding") => {
                    let last = items(header.value).last();
                    let chunked = last.is_some_and(|it| it.eq_ignore_ascii_case(b"chunked"));
                    framing.chunked = Some(chunked);
                }
                10 if is("connection") => {
                    for item in items(header.value) {
                        close |= item.eq_ignore_ascii_case(b"close");
                        framing.keep |= item.eq_ignore_ascii_case(b"keep-alive");
                    }
                }
                11 if is("retry-after") => {
                    let text = std::str::from_utf8(header.value).ok();
                    framing.retry_after = text.map(str::to_owned);
                }
                _ => {}
            }
        }
        framing.keep &= !close;
        if framing.chunked.is_some() && !is_1_1 {
            return bad("transfer codings in HTTP/1.0");
        }
        Ok(framing)
    }

    /// Every length that is given must be the same.
    fn add_length(&mut self, value: &[u8]) -> Result<(), Bad> {
        let mut any = false;
        for item in items(value) {
            any = true;
            let digits = !item.is_empty() && item.iter().all(u8::is_ascii_digit);
            let length = std::str::from_utf8(item)
                .ok()
                .filter(|_| digits)
                .and_then(|text| text.parse().ok());
            if length.is_none() || self.length.is_some_and(|before| length != Some(before)) {
                return bad("a Content-Length that is none, or two that differ");
            }
            self.length = length;
        }
        match any {
            true => Ok(()),
            false => bad("an empty Content-Length"),
        }
    }
}

fn items(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|&byte| byte == b',').map(<[u8]>::trim_ascii)
}

#[cfg(test)]
mod tests;
