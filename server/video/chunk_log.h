// The log of one video: its events and chunks in order, for any number of readers.
#ifndef LONGTAKE_SERVER_VIDEO_CHUNK_LOG_H_
#define LONGTAKE_SERVER_VIDEO_CHUNK_LOG_H_

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "common/mutex.h"
#include "server/video/event.h"

namespace longtake::server {

// A place in a log: the next message of the next piece. What is before it has been read.
struct Position {
  uint64_t piece = 0;
  size_t message = 0;
  friend bool operator==(const Position&, const Position&) = default;
};

// A chunk by its block and its place in that, from 0.
struct ChunkNumber {
  int block = 0, index = 0;
  friend bool operator==(const ChunkNumber&, const ChunkNumber&) = default;
};

// How much of a video is in its log: whole blocks, and chunks of the block after them.
struct LogReach {
  int blocks = 0, chunks = 0;
  friend bool operator==(const LogReach&, const LogReach&) = default;
};

// One message on the wire: `head`, then these bytes of its piece's media.
struct Message {
  std::string head;
  size_t media_begin = 0, media_size = 0;
};

// One event with its media and its messages. Never changed once it is in a log.
struct Piece {
  Event event;
  std::string media;
  std::vector<Message> messages;  // at least one
};

// One writer at a time appends; readers pull with a cursor of their own. Nobody waits for anybody: a reader that falls
// behind costs nothing but the memory of what it has not read, which the owner may drop. Where blocks are stored, what
// was dropped is read again for who needs it. Thread-safe.
class ChunkLog {
 public:
  // The messages of an event at this place in its log. Called once for each piece, whatever the number of readers.
  using Serializer = std::function<std::vector<Message>(const Event& event, size_t media_size, uint64_t piece)>;

  // The events of a stored block with their media, in the log's order.
  using ReadBlock = std::function<absl::StatusOr<std::vector<Recorded>>(int block)>;

  // Is told that there may be more to read; on the writer's thread, without locks.
  class Listener {
   public:
    virtual ~Listener() = default;
    virtual void OnMore() = 0;
  };

  struct Cursor {
    Position at;
    int from_block = 0;         // chunks of earlier ones are passed over
    bool follow = true;         // wait for more until the log is closed
    bool with_progress = true;  // Progress too, not only Waiting
    uint64_t latest = 0;        // the last one of SetLatest that was read
  };

  // What Next has found: a message to write, the end, or neither, which is to wait.
  struct Step {
    std::shared_ptr<const Piece> piece;
    size_t message = 0;
    std::optional<absl::Status> end;
    int64_t grown = 0;  // bytes of a block that was read again for it

    bool last_message() const { return message + 1 == piece->messages.size(); }
  };

  // `read_block`: null where nothing is stored.
  explicit ChunkLog(Serializer serializer, ReadBlock read_block = nullptr)
      : serializer_(std::move(serializer)), read_block_(std::move(read_block)) {}

  // The writer. After Close and Discard nothing is appended any more. Returns the bytes that the log has grown by.
  int64_t Append(Event event, std::string media = {});
  // The next event is in the store, with its media. Returns the bytes that the log has grown by.
  int64_t AppendStored(Event event);
  // The blocks before this one can be read again.
  void SetStored(int blocks);
  // Waiting or Progress: readers get the newest one only, and none that is older than the last piece.
  void SetLatest(Event event);
  // Repeat's event until the next SetLatest; readers do not get it otherwise.
  void SetRepeat(Event event);
  // Readers get what was appended, then the status.
  void Close(absl::Status status);
  // Forgets everything: readers get `why` at once, later ones too. Returns the bytes that became free.
  int64_t Discard(absl::Status why);
  // Forgets the chunks of the oldest whole block, unless it is the newest. Where it is not stored, readers that need it
  // get BLOCK_NOT_KEPT. Returns the bytes that became free.
  int64_t DropOldestBlock();
  // Forgets the chunks of all stored blocks. Returns the bytes that became free.
  int64_t DropStored();
  // Whether all of its blocks are.
  bool stored() const;

  // Tells the listeners, as an append does.
  void Tell();

  // Readers.
  void Attach(const std::weak_ptr<Listener>& listener);
  // Reads a stored block if that is what comes next; DataLoss, Unavailable: the store's errors.
  Step Next(Cursor& cursor);
  // The newest Waiting or Progress again, with this moment, for a reader that has read everything; of all others and
  // before the first one, nothing.
  std::shared_ptr<const Piece> Repeat(const Cursor& cursor, absl::Duration elapsed) const;
  // The newest block of which there is a chunk; 0 before the first.
  int newest_block() const;
  LogReach reach() const;
  // That the first chunk at or after `at` belongs to, or the first to come. Nothing: the log is not that long.
  std::optional<int> BlockAt(const Position& at) const;

  // BLOCK_NOT_KEPT: the chunks of this block were forgotten, and are not stored.
  absl::Status CheckKept(int block) const;
  bool closed() const;
  int64_t bytes() const;

 private:
  // A place in the log. The piece of a chunk is null when it was dropped, or is in the store only.
  struct Slot {
    std::shared_ptr<const Piece> piece;
    int block = 0;  // of a chunk its own; else of the next chunk
    bool chunk = false;
  };

  // `missing`: the block that is to be read before there is a next step; left as it is where none is.
  Step NextInMemory(Cursor& cursor, int& missing) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Returns the bytes that the log has grown by.
  absl::StatusOr<int64_t> Load(int block);
  // The index in pieces_ of the block's first slot.
  size_t FirstOf(int block) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Forgets the block's chunks, which are stored. Returns the bytes that became free.
  int64_t Drop(int block) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void AddSlot(std::shared_ptr<const Piece> piece, const Event& event) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  std::shared_ptr<const Piece> MakePiece(Event event, std::string media, uint64_t place) const;
  absl::Status NotKept() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  uint64_t end() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return kHead + pieces_.size(); }

  const Serializer serializer_;
  const ReadBlock read_block_;
  mutable Mutex mutex_;
  // Accepted and InitSegment, which are kept whatever is dropped; then the others.
  std::vector<std::shared_ptr<const Piece>> head_ ABSL_GUARDED_BY(mutex_);
  std::deque<Slot> pieces_ ABSL_GUARDED_BY(mutex_);
  int stored_blocks_ ABSL_GUARDED_BY(mutex_) = 0;                // that can be read again
  int memory_block_ ABSL_GUARDED_BY(mutex_) = 0;                 // none before it has a chunk in memory
  int newest_block_ ABSL_GUARDED_BY(mutex_) = 0;                 // of which there is a chunk
  LogReach reach_ ABSL_GUARDED_BY(mutex_);                       // its block is the next chunk's
  std::shared_ptr<const Piece> latest_ ABSL_GUARDED_BY(mutex_);  // newer than all pieces
  uint64_t latest_number_ ABSL_GUARDED_BY(mutex_) = 0;
  std::optional<Event> early_ ABSL_GUARDED_BY(mutex_);   // of SetLatest, before the head was there
  std::optional<Event> repeat_ ABSL_GUARDED_BY(mutex_);  // the newest of SetLatest
  std::optional<absl::Status> closed_ ABSL_GUARDED_BY(mutex_), discarded_ ABSL_GUARDED_BY(mutex_);
  int64_t bytes_ ABSL_GUARDED_BY(mutex_) = 0;
  std::vector<std::weak_ptr<Listener>> listeners_ ABSL_GUARDED_BY(mutex_);

  static constexpr uint64_t kHead = 2;  // pieces of head_
};

}  // namespace longtake::server

#endif  // LONGTAKE_SERVER_VIDEO_CHUNK_LOG_H_
