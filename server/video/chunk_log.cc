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
    const MutexLock lock(mutex_);
    if (closed_.has_value() || discarded_.has_value()) return 0;
    place = head_.size() < kHead ? head_.size() : end();
  }
  // Outside the lock: there is one writer, and readers need not wait for it to serialise.
  const std::shared_ptr<const Piece> piece = MakePiece(std::move(event), std::move(media), place);
  int64_t grown = SizeOf(*piece);
  {
    const MutexLock lock(mutex_);
    if (discarded_.has_value()) return 0;
    if (place < kHead) {
      head_.push_back(piece);
    } else {
      AddSlot(piece, piece->event);
    }
    latest_ = nullptr;
    bytes_ += grown;
    if (early_.has_value() && head_.size() == kHead) {
      repeat_ = *early_;
      latest_ = MakePiece(*std::exchange(early_, std::nullopt), {}, end());
      ++latest_number_;
    }
  }
  Tell();
  return grown;
}

void ChunkLog::AddSlot(std::shared_ptr<const Piece> piece, const Event& event) {
  const auto* chunk = std::get_if<Chunk>(&event.body);
  if (chunk != nullptr) {
    newest_block_ = chunk->block;
    reach_ = chunk->last_in_block() ? LogReach{chunk->block + 1, 0} : LogReach{chunk->block, chunk->index + 1};
  }
  pieces_.push_back({std::move(piece), chunk != nullptr ? chunk->block : reach_.blocks, chunk != nullptr});
}

int64_t ChunkLog::AppendStored(Event event) {
  if (!std::holds_alternative<Chunk>(event.body)) return Append(std::move(event));
  const MutexLock lock(mutex_);
  AddSlot(nullptr, event);
  return 0;
}

void ChunkLog::SetStored(int blocks) {
  const MutexLock lock(mutex_);
  stored_blocks_ = blocks;
}

void ChunkLog::SetLatest(Event event) {
  {
    // Under the lock, so that it takes its place in the log as it is serialised; its one message is small.
    const MutexLock lock(mutex_);
    if (closed_.has_value() || discarded_.has_value()) return;
    if (head_.size() < kHead) {
      early_ = std::move(event);
      return;
    }
    repeat_ = event;
    latest_ = MakePiece(std::move(event), {}, end());
    ++latest_number_;
  }
  Tell();
}

void ChunkLog::SetRepeat(Event event) {
  const MutexLock lock(mutex_);
  early_.reset();
  repeat_ = std::move(event);
}

void ChunkLog::Close(absl::Status status) {
  {
    const MutexLock lock(mutex_);
    if (closed_.has_value() || discarded_.has_value()) return;
    closed_ = std::move(status);
    latest_ = nullptr;
  }
  Tell();
}

int64_t ChunkLog::Discard(absl::Status why) {
  int64_t freed = 0;
  std::vector<std::shared_ptr<const Piece>> dropped;  // destroyed outside the lock
  {
    const MutexLock lock(mutex_);
    discarded_ = std::move(why);
    for (Slot& slot : pieces_) dropped.push_back(std::move(slot.piece));
    head_.clear();
    latest_ = nullptr;
    freed = std::exchange(bytes_, 0);
  }
  Tell();
  return freed;
}

int64_t ChunkLog::DropOldestBlock() {
  const MutexLock lock(mutex_);
  while (!discarded_.has_value() && memory_block_ < newest_block_) {
    if (const int64_t freed = Drop(memory_block_++); freed > 0) return freed;
  }
  return 0;
}

int64_t ChunkLog::DropStored() {
  const MutexLock lock(mutex_);
  int64_t freed = 0;
  for (; memory_block_ < stored_blocks_; ++memory_block_) freed += Drop(memory_block_);
  return freed;
}

size_t ChunkLog::FirstOf(int block) const {
  const auto found = std::lower_bound(pieces_.begin(), pieces_.end(), block,
                                      [](const Slot& slot, int wanted) { return slot.block < wanted; });
  return static_cast<size_t>(found - pieces_.begin());
}

int64_t ChunkLog::Drop(int block) {
  int64_t freed = 0;
  for (size_t i = FirstOf(block); i < pieces_.size() && pieces_[i].block == block; ++i) {
    Slot& slot = pieces_[i];
    if (!slot.chunk || slot.piece == nullptr) continue;
    freed += SizeOf(*slot.piece);
    slot.piece = nullptr;
  }
  bytes_ -= freed;
  return freed;
}

absl::StatusOr<int64_t> ChunkLog::Load(int block) {
  absl::StatusOr<std::vector<Recorded>> read = read_block_(block);
  if (!read.ok()) return StoreError(read.status());
  std::vector<Recorded>& events = *read;
  std::erase_if(events, [](const Recorded& each) { return !std::holds_alternative<Chunk>(each.event.body); });
  std::vector<uint64_t> places;
  {
    const MutexLock lock(mutex_);
    for (size_t i = FirstOf(block); i < pieces_.size() && pieces_[i].block == block; ++i) {
      if (pieces_[i].chunk) places.push_back(kHead + i);
    }
  }
  if (places.size() != events.size()) {
    return StoreError(absl::DataLossError(
        absl::StrCat("store: block ", block, " has ", events.size(), " chunks and not ", places.size())));
  }
  std::vector<std::shared_ptr<const Piece>> pieces;
  for (size_t i = 0; i < places.size(); ++i) {
    pieces.push_back(MakePiece(std::move(events[i].event), std::move(events[i].media), places[i]));
  }
  const MutexLock lock(mutex_);
  if (discarded_.has_value()) return 0;
  int64_t grown = 0;
  for (size_t i = 0; i < places.size(); ++i) {
    Slot& slot = pieces_[places[i] - kHead];
    if (slot.piece != nullptr) continue;  // another reader was faster
    grown += SizeOf(*pieces[i]);
    slot.piece = std::move(pieces[i]);
  }
  memory_block_ = std::min(memory_block_, block);
  bytes_ += grown;
  return grown;
}

void ChunkLog::Attach(const std::weak_ptr<Listener>& listener) {
  const MutexLock lock(mutex_);
  std::erase_if(listeners_, [](const std::weak_ptr<Listener>& each) { return each.expired(); });
  listeners_.push_back(listener);
}

void ChunkLog::Tell() {
  std::vector<std::shared_ptr<Listener>> listeners;
  {
    const MutexLock lock(mutex_);
    for (const std::weak_ptr<Listener>& each : listeners_) {
      if (std::shared_ptr<Listener> listener = each.lock(); listener != nullptr) {
        listeners.push_back(std::move(listener));
      }
    }
  }
  for (const std::shared_ptr<Listener>& listener : listeners) listener->OnMore();
}

absl::Status ChunkLog::NotKept() const {
  return MakeError(absl::StatusCode::kOutOfRange, absl::StrCat("blocks before ", memory_block_, " are no longer kept"),
                   {.reason = Reason::kBlockNotKept, .metadata = {{"first_block", absl::StrCat(memory_block_)}}});
}

ChunkLog::Step ChunkLog::Next(Cursor& cursor) {
  int64_t grown = 0;
  while (true) {
    int missing = -1;
    {
      const MutexLock lock(mutex_);
      Step step = NextInMemory(cursor, missing);
      step.grown = grown;
      if (missing < 0) return step;
    }
    const absl::StatusOr<int64_t> loaded = Load(missing);
    if (!loaded.ok()) return {.end = loaded.status(), .grown = grown};
    grown += *loaded;
  }
}

ChunkLog::Step ChunkLog::NextInMemory(Cursor& cursor, int& missing) const {
  if (discarded_.has_value()) return {.end = discarded_};
  while (cursor.at.piece < (head_.size() < kHead ? head_.size() : end())) {
    const Slot slot = cursor.at.piece < kHead ? Slot{head_[cursor.at.piece]} : pieces_[cursor.at.piece - kHead];
    if (slot.chunk && slot.block < cursor.from_block) {
      cursor.at = {cursor.at.piece + 1, 0};
      continue;
    }
    if (slot.piece == nullptr) {
      if (slot.block >= stored_blocks_) return {.end = NotKept()};
      missing = slot.block;
      return {};
    }
    const std::shared_ptr<const Piece>& piece = slot.piece;
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
  const MutexLock lock(mutex_);
  if (!repeat_.has_value() || closed_.has_value() || discarded_.has_value() || cursor.at.piece != end()) return nullptr;
  Event event = *repeat_;
  event.elapsed = elapsed;
  return MakePiece(std::move(event), {}, end());
}

int ChunkLog::newest_block() const {
  const MutexLock lock(mutex_);
  return newest_block_;
}

LogReach ChunkLog::reach() const {
  const MutexLock lock(mutex_);
  return reach_;
}

std::optional<int> ChunkLog::BlockAt(const Position& at) const {
  const MutexLock lock(mutex_);
  if (at.piece > end()) return std::nullopt;
  for (uint64_t piece = std::max(at.piece, kHead); piece < end(); ++piece) {
    if (pieces_[piece - kHead].chunk) return pieces_[piece - kHead].block;
  }
  return reach_.blocks;
}

bool ChunkLog::stored() const {
  const MutexLock lock(mutex_);
  return stored_blocks_ > newest_block_;
}

absl::Status ChunkLog::CheckKept(int block) const {
  const MutexLock lock(mutex_);
  return block < memory_block_ && block >= stored_blocks_ ? NotKept() : absl::OkStatus();
}

bool ChunkLog::closed() const {
  const MutexLock lock(mutex_);
  return closed_.has_value() || discarded_.has_value();
}

int64_t ChunkLog::bytes() const {
  const MutexLock lock(mutex_);
  return bytes_;
}

}  // namespace longtake::server
