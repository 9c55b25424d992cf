#include "server/video/chunk_log.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/video/error.h"

namespace longtake::server {
namespace {

int64_t SizeOf(const Piece& piece) {
  size_t size = sizeof(Piece) + piece.media.size();
  for (const Message& message : piece.messages) size += sizeof(Message) + message.head.size();
  return static_cast<int64_t>(size);
}

}  // namespace

std::shared_ptr<const Piece> ChunkLog::MakePiece(Event event, std::string media, uint64_t place) const {
  auto piece = std::make_shared<Piece>();
  piece->messages = serializer_(event, media.size(), place);
  piece->event = std::move(event);
  piece->media = std::move(media);
  return piece;
}

int64_t ChunkLog::Append(Event event, std::string media) {
  uint64_t place = 0;
  {
    const std::lock_guard lock(mutex_);
    if (closed_.has_value() || discarded_.has_value()) return 0;
    place = head_.size() < kHead ? head_.size() : end();
  }
  // Outside the lock: there is one writer, and readers need not wait for it to serialise.
  const std::shared_ptr<const Piece> piece = MakePiece(std::move(event), std::move(media), place);
  int64_t grown = SizeOf(*piece);
  {
    const std::lock_guard lock(mutex_);
    if (discarded_.has_value()) return 0;
    if (place < kHead) {
      head_.push_back(piece);
    } else {
      pieces_.push_back(piece);
    }
    if (const auto* chunk = std::get_if<Chunk>(&piece->event.body); chunk != nullptr) {
      newest_block_ = chunk->block;
      next_block_ = chunk->block + (chunk->last_in_block() ? 1 : 0);
    }
    latest_ = nullptr;
    bytes_ += grown;
  }
  Tell();
  return grown;
}

void ChunkLog::SetLatest(Event event) {
  {
    // Under the lock, so that it takes its place in the log as it is serialised; its one message is small.
    const std::lock_guard lock(mutex_);
    if (closed_.has_value() || discarded_.has_value() || head_.size() < kHead) return;
    repeat_ = event;
    latest_ = MakePiece(std::move(event), {}, end());
    ++latest_number_;
  }
  Tell();
}

void ChunkLog::SetRepeat(Event event) {
  const std::lock_guard lock(mutex_);
  repeat_ = std::move(event);
}

void ChunkLog::Close(absl::Status status) {
  {
    const std::lock_guard lock(mutex_);
    if (closed_.has_value() || discarded_.has_value()) return;
    closed_ = std::move(status);
    latest_ = nullptr;
  }
  Tell();
}

int64_t ChunkLog::Discard(absl::Status why) {
  int64_t freed = 0;
  std::deque<std::shared_ptr<const Piece>> dropped;  // destroyed outside the lock
  {
    const std::lock_guard lock(mutex_);
    discarded_ = std::move(why);
    dropped.swap(pieces_);
    first_ += dropped.size();
    head_.clear();
    latest_ = nullptr;
    freed = std::exchange(bytes_, 0);
  }
  Tell();
  return freed;
}

int64_t ChunkLog::DropOldestBlock() {
  std::deque<std::shared_ptr<const Piece>> dropped;
  const std::lock_guard lock(mutex_);
  if (discarded_.has_value() || first_block_ >= newest_block_) return 0;
  int64_t freed = 0;
  while (!pieces_.empty()) {
    const auto* chunk = std::get_if<Chunk>(&pieces_.front()->event.body);
    if (chunk != nullptr && chunk->block > first_block_) break;
    freed += SizeOf(*pieces_.front());
    dropped.push_back(std::move(pieces_.front()));
    pieces_.pop_front();
    ++first_;
  }
  ++first_block_;
  bytes_ -= freed;
  return freed;
}

void ChunkLog::Attach(const std::weak_ptr<Listener>& listener) {
  const std::lock_guard lock(mutex_);
  std::erase_if(listeners_, [](const std::weak_ptr<Listener>& each) { return each.expired(); });
  listeners_.push_back(listener);
}

void ChunkLog::Tell() {
  std::vector<std::shared_ptr<Listener>> listeners;
  {
    const std::lock_guard lock(mutex_);
    for (const std::weak_ptr<Listener>& each : listeners_) {
      if (std::shared_ptr<Listener> listener = each.lock(); listener != nullptr) {
        listeners.push_back(std::move(listener));
      }
    }
  }
  for (const std::shared_ptr<Listener>& listener : listeners) listener->OnMore();
}

absl::Status ChunkLog::NotKept() const {
  return MakeError(absl::StatusCode::kOutOfRange, absl::StrCat("blocks before ", first_block_, " are no longer kept"),
                   {.reason = Reason::kBlockNotKept, .metadata = {{"first_block", absl::StrCat(first_block_)}}});
}

ChunkLog::Step ChunkLog::Next(Cursor& cursor) const {
  const std::lock_guard lock(mutex_);
  if (discarded_.has_value()) return {.end = discarded_};
  while (cursor.at.piece < (head_.size() < kHead ? head_.size() : end())) {
    if (cursor.at.piece >= kHead && cursor.at.piece < first_) {
      if (cursor.from_block < first_block_) return {.end = NotKept()};
      cursor.at = {first_, 0};
      continue;
    }
    const std::shared_ptr<const Piece>& piece =
        cursor.at.piece < kHead ? head_[cursor.at.piece] : pieces_[cursor.at.piece - first_];
    const auto* chunk = std::get_if<Chunk>(&piece->event.body);
    if (chunk != nullptr && chunk->block < cursor.from_block) {
      cursor.at = {cursor.at.piece + 1, 0};
      continue;
    }
    const size_t message = cursor.at.message++;
    if (cursor.at.message >= piece->messages.size()) cursor.at = {cursor.at.piece + 1, 0};
    if (message < piece->messages.size()) return {piece, message, {}};
  }
  if (!cursor.follow) return {.end = absl::OkStatus()};
  if (closed_.has_value()) return {.end = closed_};
  if (latest_ != nullptr && cursor.latest != latest_number_) {
    cursor.latest = latest_number_;
    if (cursor.with_progress || !std::holds_alternative<Progress>(latest_->event.body)) return {latest_, 0, {}};
  }
  return {};
}

std::shared_ptr<const Piece> ChunkLog::Repeat(const Cursor& cursor, absl::Duration elapsed) const {
  const std::lock_guard lock(mutex_);
  if (!repeat_.has_value() || closed_.has_value() || discarded_.has_value() || cursor.at.piece != end()) return nullptr;
  Event event = *repeat_;
  event.elapsed = elapsed;
  return MakePiece(std::move(event), {}, end());
}

int ChunkLog::newest_block() const {
  const std::lock_guard lock(mutex_);
  return newest_block_;
}

std::optional<int> ChunkLog::BlockAt(const Position& at) const {
  const std::lock_guard lock(mutex_);
  if (at.piece > end()) return std::nullopt;
  for (uint64_t piece = std::max(at.piece, first_); piece < end(); ++piece) {
    if (const auto* chunk = std::get_if<Chunk>(&pieces_[piece - first_]->event.body); chunk != nullptr) {
      return chunk->block;
    }
  }
  return next_block_;
}

bool ChunkLog::closed() const {
  const std::lock_guard lock(mutex_);
  return closed_.has_value() || discarded_.has_value();
}

int64_t ChunkLog::bytes() const {
  const std::lock_guard lock(mutex_);
  return bytes_;
}

}  // namespace longtake::server
