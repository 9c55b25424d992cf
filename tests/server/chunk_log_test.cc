#include "server/video/chunk_log.h"

#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "server/video/error.h"
#include "server/video/state.h"

namespace longtake::server {
namespace {

// Messages of at most two bytes of media.
std::vector<Message> Serialize(const Event&, size_t size, uint64_t) {
  std::vector<Message> messages;
  for (size_t at = 0; at == 0 || at < size; at += 2) messages.push_back({{}, at, std::min<size_t>(2, size - at)});
  return messages;
}

class ChunkLogTest : public testing::Test {
 protected:
  ChunkLogTest() {
    log.Append({{}, Accepted{}});
    log.Append({{}, InitSegment{}}, "i");
  }
  void AppendBlock(int block) {
    log.Append({{}, Chunk{.block = block, .index = 0}}, "ab");
    log.Append({{}, Chunk{.block = block, .index = 1, .report = BlockReport{}}}, "cde");
  }
  // All that there is for this cursor now: media, "." between messages, then how it ended.
  std::string Read(ChunkLog::Cursor& cursor) {
    std::string text;
    while (true) {
      const ChunkLog::Step step = log.Next(cursor);
      if (step.end.has_value()) return absl::StrCat(text, "end ", step.end->message());
      if (step.piece == nullptr) return absl::StrCat(text, "wait");
      if (std::holds_alternative<Waiting>(step.piece->event.body)) {
        absl::StrAppend(&text, "w", std::get<Waiting>(step.piece->event.body).position);
      } else if (std::holds_alternative<Progress>(step.piece->event.body)) {
        text += "p";
      }
      const Message& message = step.piece->messages[step.message];
      absl::StrAppend(&text, step.piece->media.substr(message.media_begin, message.media_size), ".");
    }
  }
  std::string ReadFrom(ChunkLog::Cursor cursor) { return Read(cursor); }

  ChunkLog log{Serialize};
};

TEST_F(ChunkLogTest, ReadersGetAllOfItWheneverTheyCome) {
  ChunkLog::Cursor early;
  EXPECT_EQ(Read(early), ".i.wait");
  AppendBlock(0);
  EXPECT_EQ(Read(early), "ab.cd.e.wait");
  AppendBlock(1);
  log.Close(absl::OkStatus());
  EXPECT_EQ(Read(early), "ab.cd.e.end ");
  EXPECT_EQ(ReadFrom({}), ".i.ab.cd.e.ab.cd.e.end ");
  EXPECT_EQ(ReadFrom({.from_block = 1}), ".i.ab.cd.e.end ");
  EXPECT_EQ(log.Append({{}, Finished{}}), 0) << "after the end";
}

TEST_F(ChunkLogTest, AReaderGoesOnInTheMiddleOfAPiece) {
  AppendBlock(0);
  EXPECT_EQ(ReadFrom({.at = {3, 1}}), "e.wait");
  EXPECT_EQ(ReadFrom({.at = {3, 9}}), "wait");
  EXPECT_EQ(log.BlockAt({2, 0}), 0);
  EXPECT_EQ(log.BlockAt({4, 0}), 1) << "the next to come";
  EXPECT_EQ(log.BlockAt({5, 0}), std::nullopt);
}

TEST_F(ChunkLogTest, OnlyTheNewestOfWhatPassesIsRead) {
  ChunkLog::Cursor cursor;
  Read(cursor);
  log.SetLatest({{}, Waiting{2}});
  log.SetLatest({{}, Waiting{1}});
  EXPECT_EQ(Read(cursor), "w1.wait");
  EXPECT_EQ(Read(cursor), "wait");
  log.SetLatest({{}, Progress{}});
  EXPECT_EQ(ReadFrom({.at = {2, 0}, .with_progress = false}), "wait");
  AppendBlock(0);
  EXPECT_EQ(Read(cursor), "ab.cd.e.wait") << "the progress before the block has passed";
  const auto again = log.Repeat(cursor, absl::Seconds(3));
  ASSERT_NE(again, nullptr);
  EXPECT_TRUE(std::holds_alternative<Progress>(again->event.body));
  EXPECT_EQ(again->event.elapsed, absl::Seconds(3));
  EXPECT_EQ(log.Repeat({}, {}), nullptr) << "has something to read";
}

TEST_F(ChunkLogTest, AReaderThatDoesNotFollowEndsWithWhatIsThere) {
  AppendBlock(0);
  EXPECT_EQ(ReadFrom({.follow = false}), ".i.ab.cd.e.end ");
}

TEST_F(ChunkLogTest, WhoNeedsWhatIsGoneIsTold) {
  AppendBlock(0);
  EXPECT_EQ(log.DropOldestBlock(), 0) << "the newest stays";
  ChunkLog::Cursor slow;
  EXPECT_NE(log.Next(slow).piece, nullptr);
  AppendBlock(1);
  const int64_t before = log.bytes(), freed = log.DropOldestBlock();
  EXPECT_GT(freed, 0);
  EXPECT_EQ(log.bytes(), before - freed);
  EXPECT_EQ(ReadFrom({.from_block = 1}), ".i.ab.cd.e.wait");
  EXPECT_NE(log.Next(slow).piece, nullptr) << "the init segment is always there";
  const ChunkLog::Step step = log.Next(slow);
  ASSERT_TRUE(step.end.has_value());
  EXPECT_EQ(step.end->code(), absl::StatusCode::kOutOfRange);
  EXPECT_EQ(DetailsOf(*step.end).reason, Reason::kBlockNotKept);
  EXPECT_EQ(DetailsOf(*step.end).metadata.at("first_block"), "1");
}

TEST_F(ChunkLogTest, ADiscardedLogEndsItsReadersAtOnce) {
  AppendBlock(0);
  EXPECT_GT(log.Discard(absl::NotFoundError("gone")), 0);
  EXPECT_EQ(log.bytes(), 0);
  EXPECT_EQ(ReadFrom({}), "end gone");
  EXPECT_EQ(log.Append({{}, Finished{}}), 0);
}

TEST(EarlyChunkLog, WhatIsSaidBeforeItBeginsIsReadBehindItsHead) {
  ChunkLog log(Serialize);
  log.SetLatest({{}, Waiting{3}});
  ChunkLog::Cursor cursor;
  EXPECT_EQ(log.Next(cursor).piece, nullptr);
  log.Append({{}, Accepted{}});
  log.Append({{}, InitSegment{}}, "i");
  for (int i = 0; i < 2; ++i) EXPECT_NE(log.Next(cursor).piece, nullptr);
  const ChunkLog::Step step = log.Next(cursor);
  ASSERT_NE(step.piece, nullptr);
  EXPECT_EQ(std::get<Waiting>(step.piece->event.body).position, 3);
  EXPECT_NE(log.Repeat(cursor, absl::Seconds(10)), nullptr);
}

// Blocks of two chunks each, "ab" and "cde", that are in the store.
TEST(StoredChunkLog, ReadsWhatItHasDroppedAgain) {
  int reads = 0;
  absl::Status fails;
  ChunkLog log(Serialize, [&](int block) -> absl::StatusOr<std::vector<Recorded>> {
    ++reads;
    if (!fails.ok()) return fails;
    return std::vector<Recorded>{{{{}, Chunk{.block = block, .index = 0}}, "ab"},
                                 {{{}, PromptChanged{}}, ""},
                                 {{{}, Chunk{.block = block, .index = 1, .report = BlockReport{}}}, "cde"}};
  });
  log.Append({{}, Accepted{}});
  log.Append({{}, InitSegment{}}, "i");
  int64_t bytes = log.bytes();
  const auto read = [&](ChunkLog::Cursor cursor) {
    std::string text;
    while (true) {
      const ChunkLog::Step step = log.Next(cursor);
      bytes += step.grown;
      if (step.end.has_value()) return absl::StrCat(text, "end ", step.end->message());
      if (step.piece == nullptr) return absl::StrCat(text, "wait");
      const Message& message = step.piece->messages[step.message];
      absl::StrAppend(&text, step.piece->media.substr(message.media_begin, message.media_size), ".");
    }
  };
  // The first block came from the store, the second is made now.
  log.AppendStored({{}, Chunk{.block = 0, .index = 0}});
  bytes += log.AppendStored({{}, PromptChanged{}});
  log.AppendStored({{}, Chunk{.block = 0, .index = 1, .report = BlockReport{}}});
  log.SetStored(1);
  bytes += log.Append({{}, Chunk{.block = 1, .index = 0}}, "ab");
  bytes += log.Append({{}, PromptChanged{}});
  EXPECT_EQ(read({.from_block = 1}), ".i..ab..wait");
  EXPECT_EQ(reads, 0) << "nobody needs the first block";
  EXPECT_EQ(read({}), ".i.ab..cd.e.ab..wait");
  EXPECT_EQ(read({}), ".i.ab..cd.e.ab..wait");
  EXPECT_EQ(reads, 1) << "it is in memory now";
  EXPECT_EQ(log.BlockAt({2, 0}), 0);
  EXPECT_EQ(log.BlockAt({5, 0}), 1);
  bytes += log.Append({{}, Chunk{.block = 1, .index = 1, .report = BlockReport{}}}, "cde");
  EXPECT_EQ(bytes, log.bytes());
  EXPECT_FALSE(log.stored());
  log.SetStored(2);
  EXPECT_TRUE(log.stored());
  bytes -= log.DropOldestBlock();
  EXPECT_EQ(log.DropOldestBlock(), 0) << "the newest stays";
  bytes -= log.DropStored();
  EXPECT_EQ(bytes, log.bytes());
  log.Close(absl::OkStatus());
  EXPECT_EQ(read({}), ".i.ab..cd.e.ab..cd.e.end ");
  EXPECT_EQ(reads, 3);
  EXPECT_EQ(bytes, log.bytes());
  log.DropStored();
  fails = absl::UnavailableError("store: the disk is gone");
  EXPECT_EQ(read({}), ".i.end store: the disk is gone");
  fails = absl::OkStatus();
  EXPECT_EQ(read({.from_block = 1}), ".i..ab..cd.e.end ") << "an error is no state";
}

TEST(States, EndsAreFinalAndEachStateCanFail) {
  constexpr State kAll[] = {State::kQueued, State::kPlaced, State::kMaking,   State::kPaused,
                            State::kMade,   State::kFailed, State::kCancelled};
  for (State from : kAll) {
    for (State to : kAll) {
      if (IsEnd(from) || from == to) {
        EXPECT_FALSE(MayMove(from, to)) << Name(from) << " to " << Name(to);
      }
    }
    EXPECT_EQ(MayMove(from, State::kFailed), !IsEnd(from)) << Name(from);
    EXPECT_EQ(MayMove(from, State::kCancelled), !IsEnd(from)) << Name(from);
  }
  EXPECT_TRUE(MayMove(State::kQueued, State::kPlaced));
  EXPECT_FALSE(MayMove(State::kQueued, State::kMaking));
  EXPECT_TRUE(MayMove(State::kPaused, State::kMaking));
  EXPECT_FALSE(MayMove(State::kPaused, State::kMade));
}

}  // namespace
}  // namespace longtake::server
