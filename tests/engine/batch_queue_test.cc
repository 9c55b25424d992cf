// The order in which waiting batches of two lanes begin.
#include "engine/runtime/batch_queue.h"

#include <string>
#include <vector>

#include "gtest/gtest.h"

namespace longtake {
namespace {

using enum PassKind;

class BatchQueueTest : public testing::Test {
 protected:
  struct Wanted {
    PassKind kind;
    size_t session;
  };
  // A batch of the first pass's lane, known by `name`.
  void Push(BatchQueue& queue, const std::string& name, const std::vector<Wanted>& passes) {
    PassBatch* batch = queue.New(LaneOf(passes.front().kind));
    for (const Wanted& wanted : passes) {
      SessionTable::Entry& entry = sessions_[wanted.session];
      entry.waiting[SessionTable::RoleOf(wanted.kind)] = batch->sequence;
      batch->passes.push_back({.kind = wanted.kind, .prompt = name});
      batch->bound.push_back({.entry = &entry});
    }
    queue.Push(batch);
  }
  void PushTask(BatchQueue& queue, const std::string& name) {
    queue.PushTask([this, name] { order_ += name; });
  }
  // Names in the order in which everything begins.
  std::string Drain(BatchQueue& queue) {
    order_.clear();
    while (!queue.empty()) {
      BatchQueue::Next next = queue.Pop();
      if (next.batch == nullptr) {
        next.task();
      } else {
        order_ += next.batch->passes[0].prompt;
        queue.Recycle(next.batch);
      }
    }
    return order_;
  }

  std::vector<SessionTable::Entry> sessions_ = std::vector<SessionTable::Entry>(4);
  std::string order_;
};

TEST_F(BatchQueueTest, ThePreferredLaneGoesFirst) {
  BatchQueue decodes_first(Lane::kDecoder), transformer_first(Lane::kTransformer);
  for (BatchQueue* queue : {&decodes_first, &transformer_first}) {
    Push(*queue, "a", {{kDenoise, 0}});
    Push(*queue, "b", {{kCommit, 0}});
    Push(*queue, "1", {{kDecode, 1}});
    Push(*queue, "2", {{kDecode, 2}});
  }
  EXPECT_EQ(Drain(decodes_first), "12ab");
  EXPECT_EQ(Drain(transformer_first), "ab12");
}

// A decode of latents that are still to be committed, and a commit that needs the block before decoded.
TEST_F(BatchQueueTest, PassesOfASessionKeepTheirOrder) {
  BatchQueue queue(Lane::kDecoder);
  Push(queue, "a", {{kDenoise, 1}});
  Push(queue, "b", {{kCommit, 0}, {kDenoise, 2}});
  Push(queue, "1", {{kDecode, 3}, {kDecode, 0}});
  Push(queue, "c", {{kDenoise, 3}});
  EXPECT_EQ(Drain(queue), "ab1c");

  BatchQueue other(Lane::kTransformer);
  Push(other, "1", {{kDecode, 0}});
  Push(other, "2", {{kDecode, 1}});
  Push(other, "a", {{kDenoise, 2}});
  Push(other, "b", {{kEncodePrompt, 1}, {kCommit, 2}});
  EXPECT_EQ(Drain(other), "a12b");
}

TEST_F(BatchQueueTest, TasksDivideWhatIsBeforeFromWhatIsBehind) {
  BatchQueue queue(Lane::kDecoder);
  Push(queue, "a", {{kDenoise, 0}});
  PushTask(queue, "X");
  Push(queue, "1", {{kDecode, 1}});
  Push(queue, "b", {{kDenoise, 2}});
  PushTask(queue, "Y");
  EXPECT_EQ(Drain(queue), "aX1bY");
}

TEST_F(BatchQueueTest, BatchesAreUsedAgain) {
  BatchQueue queue(Lane::kDecoder);
  const PassBatch* first = queue.New(Lane::kDecoder);
  queue.Recycle(const_cast<PassBatch*>(first));
  EXPECT_EQ(queue.New(Lane::kTransformer), first);
  EXPECT_NE(queue.New(Lane::kTransformer), first);
}

}  // namespace
}  // namespace longtake
