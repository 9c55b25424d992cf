// Several devices as one: bytes, slots and completions whatever moves happen, also when a device fails.
#include "engine/runtime/device_group.h"

#include <atomic>
#include <map>
#include <random>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "engine/runtime/load.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/engine/engine_driver.h"
#include "tests/engine/engine_mixes.h"
#include "tests/engine/fake_member.h"
#include "tests/engine/temp_folder.h"

namespace longtake {
namespace {

// To any other device, three times in four.
MovePolicy AtRandom(uint32_t seed) {
  return [random = std::mt19937(seed)](const MoveQuestion& q) mutable -> std::optional<size_t> {
    if (random() % 4 == 0) return std::nullopt;
    return (q.from + 1 + random() % (q.devices.size() - 1)) % q.devices.size();
  };
}

// Devices, sessions and a user in one thread, in an order that a seed chooses.
class World {
 public:
  World(uint32_t seed, int devices, int slots) : random_(seed), slots_(devices * slots) {
    std::vector<std::unique_ptr<MovableEngine>> members;
    for (int i = 0; i < devices; ++i) {
      auto member = std::make_unique<FakeMember>(slots);
      members_.push_back(member.get());
      members.push_back(std::move(member));
    }
    group_ = *MakeDeviceGroup(std::move(members), AtRandom(seed + 1));
  }

  // `fails`: at that action a device fails.
  void Run(int actions, int fails = -1) {
    for (int i = 0; i < actions; ++i) {
      if (i == fails) {
        members_[0]->Fail();
        failed_ = true;
      }
      const uint32_t what = random_() % 16;
      if (what == 0) {
        Open();
      } else if (what == 1 && !open_.empty() && random_() % 4 == 0) {
        Close(Any());
      } else if (what < 7) {
        SubmitSome();
      } else {
        members_[random_() % members_.size()]->RunOne();
      }
      CheckSlots();
    }
    while (!open_.empty() || under_way_ > 0) {
      SubmitSome();
      for (FakeMember* member : members_) member->RunOne();
      CheckSlots();
    }
    for (FakeMember* member : members_) EXPECT_FALSE(member->misused());
  }

  Engine& group() { return *group_; }
  int made() const { return made_; }
  int lost() const { return lost_; }

 private:
  struct Watched {
    uint64_t seed = 0;
    std::vector<uint8_t> bytes;
    int under_way = 0;
    bool lost = false;
  };

  static std::vector<uint8_t> Solo(uint64_t seed) {
    std::vector<uint8_t> bytes;
    uint64_t memory = FakeStep(seed, 1);
    for (int block = 0; block < FakeMember::kBlocks; ++block) {
      for (int step = 0; step < FakeMember::kSteps; ++step) memory = FakeStep(memory, 2 + step);
      memory = FakeStep(memory, 99);
      for (size_t i = 0; i < sizeof memory; ++i) bytes.push_back(static_cast<uint8_t>(memory >> 8 * i));
    }
    return bytes;
  }

  SessionId Any() { return std::next(open_.begin(), random_() % open_.size())->first; }

  void Open() {
    const uint64_t seed = random_();
    const absl::StatusOr<SessionId> id = group_->OpenSession({{}, FakeMember::kBlocks, seed});
    const int taken = static_cast<int>(open_.size()) + closing_;
    // Exactly as many as there are slots, moves or not.
    if (!failed_) {
      EXPECT_EQ(id.ok(), taken < slots_) << id.status();
    }
    if (!id.ok()) {
      EXPECT_TRUE(absl::IsResourceExhausted(id.status()) || (failed_ && absl::IsUnavailable(id.status())));
      return;
    }
    open_[*id].seed = seed;
  }

  void Close(SessionId id) {
    group_->CloseSession(id);
    EXPECT_TRUE(absl::IsNotFound(group_->progress(id).status()));
    if (open_[id].under_way > 0) {
      ++closing_;
      closed_[id] = open_[id];
    }
    open_.erase(id);
  }

  // Each session that has nothing under way, perhaps; at a block's beginning its prompt may come along again.
  void SubmitSome() {
    std::vector<Pass> passes;
    std::vector<SessionId> all;
    for (const auto& [id, session] : open_) all.push_back(id);
    for (const SessionId id : all) {
      Watched& session = open_[id];
      if (session.under_way > 0 || random_() % 4 == 0) continue;
      const absl::StatusOr<SessionProgress> at = group_->progress(id);
      if (session.lost || !at.ok()) {
        EXPECT_TRUE(session.lost) << at.status();
        ++lost_;
        Close(id);
        continue;
      }
      if (at->decoded_latents == at->blocks) {
        EXPECT_EQ(session.bytes, Solo(session.seed));
        ++made_;
        Close(id);
        continue;
      }
      const PassKind kind = !at->has_prompt                              ? PassKind::kEncodePrompt
                            : at->decoded_latents < at->committed_frames ? PassKind::kDecode
                            : at->step < FakeMember::kSteps              ? PassKind::kDenoise
                                                                         : PassKind::kCommit;
      passes.push_back({.kind = kind, .session = id});
      ++session.under_way;
    }
    for (const Lane lane : {Lane::kDecoder, Lane::kTransformer}) SubmitTo(lane, passes);
  }

  void SubmitTo(Lane lane, const std::vector<Pass>& all) {
    std::vector<Pass> passes;
    for (const Pass& pass : all) {
      if (LaneOf(pass.kind) == lane) passes.push_back(pass);
    }
    if (passes.empty()) return;
    std::vector<SessionId> owners;
    for (const Pass& pass : passes) owners.push_back(pass.session);
    under_way_ += static_cast<int>(passes.size());
    auto told = std::make_shared<std::vector<int>>(passes.size(), 0);
    group_->Submit(lane, std::move(passes), [this, owners, told](size_t i, PassResult result) {
      EXPECT_EQ(++(*told)[i], 1);
      --under_way_;
      if (const auto it = closed_.find(owners[i]); it != closed_.end()) {
        --closing_;
        closed_.erase(it);
        return;
      }
      Watched& session = open_.at(owners[i]);
      --session.under_way;
      if (!result.status.ok()) {
        EXPECT_TRUE(failed_ && result.status.message() == "lost") << result.status;
        session.lost = true;
      }
      session.bytes.insert(session.bytes.end(), result.frames.bytes.begin(), result.frames.bytes.end());
    });
  }

  void CheckSlots() {
    const MemoryRegion state = group_->memory()[0];
    EXPECT_EQ(state.slots, slots_);
    // A session that is lost on its way has no slot from then on, though its user has yet to close it.
    if (!failed_) {
      EXPECT_EQ(state.slots_used, static_cast<int>(open_.size()) + closing_);
    }
  }

  std::mt19937 random_;
  const int slots_;
  std::vector<FakeMember*> members_;
  std::unique_ptr<Engine> group_;
  std::map<SessionId, Watched> open_, closed_;  // closed ones with a pass under way
  int under_way_ = 0, closing_ = 0, made_ = 0, lost_ = 0;
  bool failed_ = false;
};

TEST(DeviceGroup, MovesKeepBytesSlotsAndCompletions) {
  uint64_t moves = 0;
  int made = 0;
  for (uint32_t seed = 0; seed < 60; ++seed) {
    SCOPED_TRACE(seed);
    World world(seed, 2 + static_cast<int>(seed % 3), 1 + static_cast<int>(seed % 4));
    world.Run(1500);
    EXPECT_EQ(world.lost(), 0);
    made += world.made();
    moves += world.group().moves().count;
    ASSERT_FALSE(HasFailure());
  }
  EXPECT_GT(made, 600);
  EXPECT_GT(moves, 600u);
}

// What was on the failed device is lost and says so; all else is made as ever, and nothing hangs.
TEST(DeviceGroup, AFailedDeviceTakesItsSessionsOnly) {
  int made = 0, lost = 0;
  for (uint32_t seed = 0; seed < 60; ++seed) {
    SCOPED_TRACE(seed);
    World world(seed, 2 + static_cast<int>(seed % 2), 1 + static_cast<int>(seed % 4));
    world.Run(1500, /*fails=*/300 + static_cast<int>(seed) * 10);
    EXPECT_LE(world.lost(), 6);  // its slots, one on its way, one opened before the failure showed
    made += world.made();
    lost += world.lost();
    ASSERT_FALSE(HasFailure());
  }
  EXPECT_GT(made, 400);
  EXPECT_GT(lost, 60);
}

std::vector<FakeMember*> TwoMembers(std::unique_ptr<Engine>* group, MovePolicy policy) {
  auto a = std::make_unique<FakeMember>(2), b = std::make_unique<FakeMember>(2);
  std::vector<FakeMember*> members = {a.get(), b.get()};
  std::vector<std::unique_ptr<MovableEngine>> all;
  all.push_back(std::move(a));
  all.push_back(std::move(b));
  *group = *MakeDeviceGroup(std::move(all), std::move(policy));
  return members;
}

// A session whose new device fails before it is there goes on where it was.
TEST(DeviceGroup, ASessionOnItsWayToAFailedDeviceIsNotLost) {
  std::unique_ptr<Engine> group;
  const auto members = TwoMembers(&group, [](const MoveQuestion& q) { return 1 - q.from; });
  const SessionId id = *group->OpenSession({{}, FakeMember::kBlocks, 7});
  absl::Status status = absl::UnknownError("");
  const auto tell = [&](size_t, PassResult result) { status = result.status; };
  group->Submit(Lane::kTransformer, {{PassKind::kEncodePrompt, id}}, tell);
  members[0]->RunOne();
  ASSERT_TRUE(status.ok());
  status = absl::UnknownError("");
  group->Submit(Lane::kTransformer, {{PassKind::kDenoise, id}}, tell);
  members[0]->RunOne();  // taken
  members[1]->Fail();
  while (members[0]->RunOne() || members[1]->RunOne()) continue;
  EXPECT_TRUE(status.ok()) << status;
  EXPECT_EQ(group->progress(id)->step, 1);
  EXPECT_EQ(group->moves().count, 1u);
  EXPECT_EQ(group->memory()[0].slots_used, 1);
}

// A device that cannot give a session away now keeps it, and the passes that waited for the move go there.
TEST(DeviceGroup, ASessionThatIsNotTakenStaysWhereItWas) {
  std::unique_ptr<Engine> group;
  const auto members = TwoMembers(&group, [](const MoveQuestion& q) { return 1 - q.from; });
  const SessionId id = *group->OpenSession({{}, FakeMember::kBlocks, 7});
  int ended = 0;
  const auto expect_ok = [&](size_t, const PassResult& result) {
    EXPECT_TRUE(result.status.ok()) << result.status;
    ++ended;
  };
  group->Submit(Lane::kTransformer, {{PassKind::kEncodePrompt, id}}, expect_ok);
  members[0]->RunOne();
  members[0]->RefuseToTake();
  group->Submit(Lane::kTransformer, {{PassKind::kDenoise, id}}, expect_ok);
  while (members[0]->RunOne() || members[1]->RunOne()) continue;
  EXPECT_EQ(ended, 2);
  EXPECT_EQ(group->moves().count, 0u);
  EXPECT_EQ(members[0]->memory()[0].slots_used, 1);
  EXPECT_EQ(members[1]->memory()[0].slots_used, 0);
  group->CloseSession(id);
  EXPECT_EQ(members[0]->memory()[0].slots_used, 0);
}

// The default policy: two sessions at work on one device, none on the other.
TEST(DeviceGroup, FreedSlotsAreFilledFromTheBusierDevice) {
  std::unique_ptr<Engine> group;
  const auto members = TwoMembers(&group, Rebalance);
  std::vector<SessionId> ids;
  for (int i = 0; i < 4; ++i) ids.push_back(*group->OpenSession({{}, FakeMember::kBlocks, 7}));
  const auto run = [&](const std::vector<Pass>& passes) {
    group->Submit(LaneOf(passes[0].kind), passes,
                  [](size_t, const PassResult& result) { EXPECT_TRUE(result.status.ok()) << result.status; });
    while (members[0]->RunOne() || members[1]->RunOne()) continue;
  };
  for (const SessionId id : ids) run({{PassKind::kEncodePrompt, id}});
  group->CloseSession(ids[1]);  // the second device's
  group->CloseSession(ids[3]);
  const auto both = [&](PassKind kind) { run({{kind, ids[0]}, {kind, ids[2]}}); };
  for (int block = 0; block < FakeMember::kBlocks; ++block) {
    for (int step = 0; step < FakeMember::kSteps; ++step) both(PassKind::kDenoise);
    both(PassKind::kCommit);
    both(PassKind::kDecode);
  }
  EXPECT_EQ(group->moves().count, 1u);
  EXPECT_EQ(members[0]->memory()[0].slots_used, 1);
  EXPECT_EQ(members[1]->memory()[0].slots_used, 1);
}

// ---- Engines that compute
std::unique_ptr<Engine> RealGroup(const std::string& folder, int devices, int slots, int places, uint32_t seed) {
  std::vector<std::unique_ptr<MovableEngine>> members;
  for (int i = 0; i < devices; ++i) {
    auto member = LoadSlotEngine({.model_dir = folder, .threads = 1, .decoder_cache_slots = places}, 0, slots);
    EXPECT_TRUE(member.ok()) << member.status();
    members.push_back(*std::move(member));
  }
  return *MakeDeviceGroup(std::move(members), AtRandom(seed));
}

TEST(DeviceGroupBytes, AreEqualWhateverMoves) {
  struct Case {
    const char* settings;
    int devices, slots, places;
  };
  for (const Case& c : {Case{kTwoSizes, 2, 4, 0}, Case{kTwoSizes, 3, 2, 1}, Case{kRunningSum, 2, 3, 0},
                        Case{kHeldImage, 2, 3, 0}, Case{kPrefixImage, 2, 3, 0}}) {
    const TempFolder folder;
    const auto alone = Engine::Load({.model_dir = Variant(folder, c.settings), .threads = 1, .max_sessions = 1});
    ASSERT_TRUE(alone.ok()) << alone.status();
    const auto group = RealGroup(folder.path(), c.devices, c.slots, c.places, 5);
    std::atomic<bool> ended = false;
    std::thread watcher([&] {
      while (!ended) {
        for (const MemoryRegion& region : group->memory()) EXPECT_LE(region.slots_used, 5);
        std::this_thread::yield();
      }
    });
    std::vector<Job> jobs = Mix();
    for (Job& job : jobs) {
      const bool takes_image = (*alone)->model().accepts_first_image && job.spec.latent_frames > 1;
      if (takes_image) job.spec.first_image = Picture(job.spec.size, 1);
    }
    ExpectEqualInAnyMix(**alone, *group, jobs, 2);
    ended = true;
    watcher.join();
    EXPECT_GT(group->moves().count, 8u);
    EXPECT_GT(group->moves().bytes, 0u);
    EXPECT_GT(group->moves().seconds, 0);
  }
}

TEST(DeviceGroupLoad, NeedsMembersThatComputeAlike) {
  std::vector<std::unique_ptr<MovableEngine>> members;
  for (const char* dtype : {"float32", "float32", "bfloat16"}) {
    auto member = LoadSlotEngine({.model_dir = kBundled, .dtype = dtype, .threads = 1}, 0, 1);
    if (!member.ok()) GTEST_SKIP() << member.status();
    members.push_back(*std::move(member));
  }
  EXPECT_TRUE(absl::IsFailedPrecondition(MakeDeviceGroup(std::move(members)).status()));
}

}  // namespace
}  // namespace longtake
