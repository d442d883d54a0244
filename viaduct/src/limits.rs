//! Every bound of the viaduct, named and in one place, with the reason for its value. A peer can make us use no more
//! than these allow, whatever it says.

use std::time::Duration;

/// The block in which a disk is hashed, journaled and sent, when nothing else is asked for.
pub const BLOCK_BYTES: u32 = 1 << 20;
/// Smaller blocks would make the digest table outgrow the memory bound on a disk of ordinary size.
pub const BLOCK_BYTES_MIN: u32 = 64 << 10;
/// Larger blocks would let one frame take most of what may be in flight.
pub const BLOCK_BYTES_MAX: u32 = 8 << 20;
/// A disk has at most this many blocks, so that one digest per block stays within 64 MiB. 2 TiB at 1 MiB blocks;
/// larger disks get larger blocks, up to 16 TiB.
pub const BLOCKS_MAX: u64 = 2 << 20;

/// What is recognised when it comes again: file systems place their files on borders of 4 KiB, wherever the blocks above
/// begin.
pub const GRAIN_BYTES: usize = 4 << 10;
/// Grains whose place the sender remembers, at 24 bytes each: 2.5 GiB of data that is all different, in 15 MiB. Beyond that
/// some are forgotten, which costs bytes on the wire and nothing else.
pub const INDEX_GRAINS_MAX: usize = 640 << 10;
/// Where the table of what the receiver has is large itself, the index is small: both together stay below 70 MiB.
pub const INDEX_GRAINS_BESIDE_TABLE: usize = 256 << 10;
/// Other disks of the receiver that may be copied from.
pub const SHELF_DISKS_MAX: usize = 8;
/// What one question about another disk is about.
pub const ASK_BYTES: u64 = 1 << 20;
/// How far ahead of its own reading a sender asks what another disk of the receiver holds; never more than half of what
/// the index remembers.
pub const ASK_AHEAD_BYTES: u64 = 2 << 30;
/// How far at the start of the disk.
pub const ASK_AHEAD_FIRST_BYTES: u64 = 64 << 20;
/// Indexes of blocks in one frame of the receiver.
pub const INDEXES_MAX: usize = 1024;
/// Answers waiting to be written to the control stream by the receiver.
pub const ANSWERS_QUEUE: usize = 64;

/// Parallel connections of one transfer.
pub const STREAMS_MAX: u16 = 16;
/// Workers of a session at the receiver, which unpack, check and write.
pub const APPLIERS: u32 = 4;

/// Block bytes that either end holds at one time, raw; the packed form of a block is never larger than its raw form,
/// so the memory bound is twice this.
pub const IN_FLIGHT_BYTES: u32 = 16 << 20;
/// Of these, what the sender lets queue up before the line: enough to keep a gigabit busy for a tenth of a second.
pub const QUEUED_BYTES: u32 = 10 << 20;
/// What the streams of a sender hold while it goes over the line, a block each: where blocks are large there are fewer streams.
pub const LEAVING_BYTES: u32 = 24 << 20;
/// Blocks one stream may have read off the line but not yet written to the target.
pub const IN_FLIGHT_PER_STREAM: usize = 4;
/// Workers that read, hash and pack blocks at the sender. More than there are cores: they wait for disks and for answers
/// of the receiver. Packing itself is done by fewer: [`PACKERS_MAX`].
pub const ENCODERS: usize = 6;

/// Blocks that are packed at a time, however many cores there are: each takes some 10 MiB at the higher levels.
pub const PACKERS_MAX: usize = 3;

/// JSON payloads (hello, welcome, verdict, failure).
pub const MESSAGE_BYTES_MAX: u32 = 16 << 10;
/// Entries in one list of blocks the receiver already has.
pub const HAVE_ENTRIES_MAX: usize = 4096;

/// A connection must have proved who it is, and said what it wants, within this time.
pub const HANDSHAKE: Duration = Duration::from_secs(10);
/// How long a caller waits for a listener to do so: longer, as it keeps nobody else from a place by waiting. Where both are guests
/// under an emulator on a busy host, proving takes more than ten seconds.
pub const CALL: Duration = Duration::from_secs(30);
/// Connections that are still proving who they are.
pub const HANDSHAKES_MAX: usize = 32;
/// How long an end waits for the other to say anything at all, when nothing else is asked for.
pub const IDLE: Duration = Duration::from_secs(60);
/// Both ends speak at least this often, so that silence means trouble.
pub const KEEPALIVE: Duration = Duration::from_secs(5);
/// After someone showed a wrong key and before the right peer was ever seen, the receiver waits only this long: it is
/// a mistake in the caller's configuration, which should be told soon.
pub const REFUSED_GRACE: Duration = Duration::from_secs(5);
/// After a failure was sent, the connection stays open this long so that the peer can read why.
pub const LINGER: Duration = Duration::from_secs(5);
/// How long a sender goes on trying to reach the receiver.
pub const RETRY: Duration = Duration::from_secs(10);
/// The pause between two attempts to connect.
pub const RETRY_PAUSE: Duration = Duration::from_millis(250);
/// The pause before coming back to a receiver that took something a moment ago.
pub const RECONNECT_PAUSE: Duration = Duration::from_millis(50);

/// Data is made durable and journaled after this many bytes ...
pub const FLUSH_BYTES: u64 = 64 << 20;
/// ... or after this time, whichever comes first: what a crash can cost.
pub const FLUSH_EVERY: Duration = Duration::from_secs(1);
/// Notes waiting for the keeper of the journal.
pub const KEEPER_QUEUE: usize = 4096;
/// Blocks that are forgotten in the journal with one that is written over: one sync for all of them.
pub const FORGET_AHEAD: u64 = 64;
/// The journal's header.
pub const JOURNAL_HEADER_MAX: u32 = 16 << 10;

/// Zeros inside a block are left as holes in this grain.
pub const HOLE_GRAIN: usize = 64 << 10;
/// The largest range zeroed at a target in one call, so that a slow device still answers in between.
pub const ZERO_STEP: u64 = 1 << 30;

/// Blocks that are taken from one place of the disk before another may be chosen.
pub const ORDER_RUN: u32 = 8;
/// Blocks of data in the second place: what is done of them is remembered until the first is done, at some 80 bytes each.
pub const ORDER_SECOND_BLOCKS: u64 = 64 << 10;
/// Reads and writes past the page cache begin, end and lie in memory on borders of this many bytes: no device asks for more.
pub const DIRECT_ALIGN: usize = 4 << 10;
/// What is shorter goes through the cache, which gathers small writes.
pub const DIRECT_MIN_BYTES: usize = 64 << 10;
/// Memory for callers whose own lies elsewhere, and how many of these are kept.
pub const DIRECT_BOUNCE_BYTES: usize = 1 << 20;
pub const DIRECT_BOUNCES: usize = 4;

/// Blocks that are read and digested at a time where nothing is sent.
pub const DIGESTERS: usize = 4;

/// Progress is told this often.
pub const PROGRESS_EVERY: Duration = Duration::from_millis(500);

/// How long a fenced receiver may take to die before the newer one gives up.
pub const TAKEOVER: Duration = Duration::from_secs(10);

/// How long `qemu-nbd` may take to open an image.
pub const QEMU_NBD_START: Duration = Duration::from_secs(20);
/// Entries of one block-status reply that are taken.
pub const NBD_EXTENTS_MAX: usize = 64 << 10;
/// What one block-status request asks about.
pub const NBD_STATUS_BYTES: u64 = 1 << 30;
/// Requests in flight on one NBD connection.
pub const NBD_PIPELINE: usize = 16;
/// How long an NBD server may take for one request; a flush of a slow disk takes its time.
pub const NBD_REQUEST: Duration = Duration::from_secs(300);
/// The longest payload that a correct server sends in one piece of a reply: a read of a block, or a list of extents.
pub const NBD_CHUNK_MAX: u32 = BLOCK_BYTES_MAX + 64;
/// Of one request to our NBD server; clients ask for a quarter of it or less.
pub const NBD_SERVE_BYTES_MAX: u32 = 32 << 20;
/// Options and errors of an NBD server are short.
pub const NBD_OPTION_MAX: u32 = 4 << 10;

/// Connections a receiver keeps waiting at a relay: as many streams are paired without another round trip.
pub const RELAY_PARKED: usize = 4;
/// A relay says this often to one who waits that it still does ...
pub const RELAY_WORD_EVERY: Duration = Duration::from_secs(5);
/// ... and one who hears nothing for so long calls again.
pub const RELAY_SILENT: Duration = Duration::from_secs(20);
/// How long a sender may wait at a relay for its receiver. It gives up by itself before that.
pub const RELAY_SENDER_WAIT: Duration = Duration::from_secs(60);
/// A stream on which nothing moves for so long is cut by the relay. Both ends speak more often.
pub const RELAY_IDLE: Duration = Duration::from_secs(600);
/// What a relay holds of one direction of a stream.
pub const RELAY_BUFFER_BYTES: usize = 128 << 10;
/// Connections of one kind that wait at one place of a relay.
pub const RELAY_WAITING_MAX: usize = 64;
/// The pauses of a receiver whose relay cannot be reached: from the first, doubling, to the last.
pub const RELAY_PAUSES: [Duration; 2] = [Duration::from_millis(250), Duration::from_secs(4)];

/// Sessions to a host without an agent at a time: an sshd takes ten of one address that are not logged in yet.
pub const FAR_SESSIONS: usize = 6;
/// How long such a host may say nothing while a command runs there: making much durable takes its time.
pub const FAR_SILENT: Duration = Duration::from_secs(300);
/// Small pieces of a disk there are read with all that is around them, and kept.
pub const FAR_WINDOW_BYTES: u64 = 1 << 20;
/// So many of these windows are kept.
pub const FAR_WINDOWS: usize = 8;
/// Blocks whose digests one command there tells.
pub const FAR_SUMS: u64 = 32;

/// Workers of a copy within one process.
pub const COPIERS: usize = 4;
/// What one of them reads and writes at a time.
pub const COPY_BYTES: u64 = 4 << 20;
