// Videos behind the front, with a clock that the test moves.
#include <malloc.h>

#include <algorithm>
#include <atomic>
#include <future>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/time/clock.h"
#include "gtest/gtest.h"
#include "server/video/block_records.h"
#include "server/video/studio.h"
#include "spdlog/sinks/null_sink.h"
#include "tests/server/checked_viewer.h"
#include "tests/server/fake_clock.h"
#include "tests/server/fake_engine.h"

namespace longtake::server {
namespace {

class VideoTest : public testing::Test {
 protected:
  void Start(FakeEngineOptions engine_options = {}, StudioOptions options = {}) {
    engine_options.model = FakeModel();
    options.max_sessions = engine_options.max_sessions;
    options.max_wait = absl::InfiniteDuration();
    auto made = std::make_unique<FakeEngine>(engine_options);
    engine = made.get();
    studio = std::make_unique<Studio>(options, std::move(made), PlainSerializer, &clock, &metrics, &logger,
                                      /*with_thread=*/false);
  }
  std::shared_ptr<Video> Create(double seconds, Disconnect disconnect,
                                const std::shared_ptr<CheckedViewer>& viewer = nullptr,
                                scheduler::Delivery delivery = scheduler::Delivery::kLive) {
    std::promise<absl::StatusOr<std::shared_ptr<Video>>> answer;
    studio->Create({.spec = {.prompt = "a red ball", .seed = 1, .duration = absl::Seconds(seconds)},
                    .options = {.delivery = delivery},
                    .default_disconnect = disconnect},
                   [&](const absl::StatusOr<std::shared_ptr<Video>>& video) {
                     if (video.ok() && viewer != nullptr) {
                       EXPECT_TRUE(viewer->Open(*video).ok());
                     }
                     answer.set_value(video);
                   });
    absl::StatusOr<std::shared_ptr<Video>> created = answer.get_future().get();
    EXPECT_TRUE(created.ok()) << created.status();
    return *created;
  }
  // Moves the clock.
  void Pass(absl::Duration time) {
    clock.Advance(time);
    studio->Tick();
  }
  // Fails after two minutes, so that a busy machine is no failure.
  void Await(const std::function<bool()>& condition, const char* what) {
    for (int i = 0; i < 120'000; ++i) {
      if (condition()) return;
      absl::SleepFor(absl::Milliseconds(1));
    }
    FAIL() << "waited in vain for " << what;
  }

  FakeClock clock;
  Metrics metrics;
  spdlog::logger logger{"test", std::make_shared<spdlog::sinks::null_sink_mt>()};
  FakeEngine* engine = nullptr;
  std::unique_ptr<Studio> studio;
};

TEST_F(VideoTest, ASlowViewerHoldsBackNobody) {
  Start();
  const auto slow = std::make_shared<CheckedViewer>(CheckedViewer::Reads::kNever);
  const std::shared_ptr<Video> video = Create(5, Disconnect::kCancel, slow);
  const auto fast = std::make_shared<CheckedViewer>();
  ASSERT_TRUE(fast->Open(video).ok());
  Await([&] { return fast->ends() == 1; }, "the end");
  EXPECT_TRUE(fast->status().ok()) << fast->status();
  EXPECT_EQ(fast->blocks(), 10);
  EXPECT_EQ(slow->ends(), 0);
  EXPECT_EQ(fast->wrong() + slow->wrong(), "");
  slow->Leave();
}

TEST_F(VideoTest, AVideoThatNobodyReadsIsGivenUp) {
  Start({}, {.max_unread = absl::Minutes(2)});
  const auto viewer = std::make_shared<CheckedViewer>(CheckedViewer::Reads::kNever);
  viewer->give_up_after = absl::Minutes(2);
  const std::shared_ptr<Video> video = Create(10, Disconnect::kCancel, viewer);
  Await([&] { return video->info().blocks == 2; }, "what may be undelivered");
  Pass(absl::Seconds(119));
  EXPECT_EQ(video->state(), State::kMaking);
  Pass(absl::Seconds(2));
  EXPECT_EQ(video->state(), State::kFailed);
  EXPECT_EQ(DetailsOf(video->info().error).reason, Reason::kNotRead);
  EXPECT_EQ(video->info().blocks, 2) << "was made for nobody";
}

TEST_F(VideoTest, AVideoThatNobodyHasEverWatchedIsGivenUpUnlessItIsToContinue) {
  Start({}, {.max_unread = absl::Minutes(2)});
  const std::shared_ptr<Video> waits = Create(10, Disconnect::kCancel), continues = Create(10, Disconnect::kContinue);
  Await([&] { return continues->state() == State::kMade; }, "the end");
  Pass(absl::Seconds(119));
  EXPECT_FALSE(IsEnd(waits->state()));
  Pass(absl::Seconds(2));
  EXPECT_EQ(waits->state(), State::kFailed);
  EXPECT_EQ(DetailsOf(waits->info().error).reason, Reason::kNotRead);
}

TEST_F(VideoTest, AViewerOfALaterBlockDoesNotHoldBackTheBlocksBeforeIt) {
  Start();
  const auto viewer = std::make_shared<CheckedViewer>();
  const std::shared_ptr<Video> video = Create(10, Disconnect::kCancel);
  ASSERT_TRUE(viewer->Open(video, {.from_block = 15}).ok());
  Await([&] { return viewer->ends() == 1; }, "the end");
  EXPECT_TRUE(viewer->status().ok()) << viewer->status();
  EXPECT_EQ(viewer->blocks(), 5);
  EXPECT_EQ(viewer->wrong(), "");
}

TEST_F(VideoTest, AnOfflineVideoGivesItsPlaceToALiveOneAndGoesOnWhereItWas) {
  std::atomic<int> commits = 0;
  std::atomic<bool> live_is_there = true;
  Start({.max_sessions = 1, .delay = [&](const longtake::Pass& pass) {
           commits += pass.kind == PassKind::kCommit;
           while (commits > 1 && !live_is_there) absl::SleepFor(absl::Milliseconds(1));
           return absl::ZeroDuration();
         }});
  const auto make = [&] {
    const auto viewer = std::make_shared<CheckedViewer>();
    Create(5, Disconnect::kCancel, viewer, scheduler::Delivery::kOffline);
    return viewer;
  };
  const auto undisturbed = make();
  Await([&] { return undisturbed->ends() == 1; }, "the undisturbed video");
  live_is_there = false;
  commits = 0;
  const size_t before = engine->ran().size();
  const auto offline = make(), live = std::make_shared<CheckedViewer>();
  Await([&] { return commits > 1; }, "its second block");
  Create(1, Disconnect::kCancel, live);
  live_is_there = true;
  Await([&] { return offline->ends() == 1 && live->ends() == 1; }, "both videos");
  EXPECT_TRUE(offline->status().ok()) << offline->status();
  EXPECT_TRUE(live->status().ok()) << live->status();
  EXPECT_EQ(offline->wrong() + live->wrong(), "");
  EXPECT_EQ(offline->bytes(), undisturbed->bytes());
  std::map<PassKind, int> ran;
  for (const FakeEngine::Ran& pass : engine->ran()) ++ran[pass.kind];
  EXPECT_EQ(ran[PassKind::kSave], 1);
  EXPECT_EQ(ran[PassKind::kRestore], 1);
  // Between the two is the whole live video: a prompt, two blocks of three steps and a commit, and five decodes.
  const std::vector<FakeEngine::Ran> passes = engine->ran();
  const auto of = [&](PassKind kind) {
    return std::find_if(passes.begin() + static_cast<std::ptrdiff_t>(before), passes.end(),
                        [&](const FakeEngine::Ran& pass) { return pass.kind == kind; });
  };
  EXPECT_EQ(of(PassKind::kRestore) - of(PassKind::kSave), 1 + 1 + 2 * (3 + 1) + 5);
  EXPECT_EQ(engine->open_sessions(), 0);
  EXPECT_EQ(engine->passes_out_of_order(), 0);
}

TEST_F(VideoTest, ARefusedPromptTakesNoNumber) {
  std::atomic<bool> hold = true;
  Start({.max_sessions = 2, .delay = [&](const longtake::Pass&) {
           while (hold) absl::SleepFor(absl::Milliseconds(1));
           return absl::ZeroDuration();
         }});
  const std::shared_ptr<Video> video = Create(1, Disconnect::kContinue);  // two blocks
  const auto change = [&](absl::Duration at) {
    std::promise<absl::StatusOr<Studio::Receipt>> answer;
    studio->ChangePrompt({}, video->name(), {.prompt = "a blue ball", .at = at}, {},
                         [&](const absl::StatusOr<Studio::Receipt>& receipt) { answer.set_value(receipt); });
    return answer.get_future().get();
  };
  const absl::StatusOr<Studio::Receipt> first = change(absl::Seconds(0.1));
  ASSERT_TRUE(first.ok()) << first.status();
  EXPECT_EQ(first->prompt, 1);
  hold = false;
  Await([&] { return video->state() == State::kMade; }, "the end");
  for (int i = 0; i < 3; ++i) EXPECT_EQ(DetailsOf(change(absl::Seconds(0.1)).status()).reason, Reason::kVideoEnded);
}

// A sanitizer's allocator has nothing in glibc's heap; then this cannot fail.
int64_t HeapInUse() {
  const struct mallinfo2 heap = mallinfo2();
  return static_cast<int64_t>(heap.uordblks + heap.hblkhd);
}

TEST_F(VideoTest, AVideoThatEndsInTheMidstOfABlockKeepsNoEncoder) {
  std::atomic<int> decodes = 0;
  std::atomic<bool> ended = false;
  Start({.delay = [&](const longtake::Pass& pass) {
    decodes += pass.kind == PassKind::kDecode;
    while (decodes > 1 && !ended) absl::SleepFor(absl::Milliseconds(1));
    return absl::ZeroDuration();
  }});
  std::vector<std::shared_ptr<Video>> kept;
  const auto cut_off = [&] {
    decodes = 0;
    ended = false;
    kept.push_back(Create(2, Disconnect::kContinue));
    const Video& video = *kept.back();
    Await([&] { return video.info().size_bytes > 0; }, "the first of the block's two chunks");
    EXPECT_TRUE(studio->Cancel({}, video.name()).ok());
    ended = true;
    Await([&] { return kept.back()->log().closed(); }, "the end");
    EXPECT_EQ(video.info().blocks, 0);
  };
  cut_off();  // with what is allocated once
  const int64_t before = HeapInUse();
  constexpr int kVideos = 8, kEncoderBytes = 3 << 19;  // at the least
  for (int i = 0; i < kVideos; ++i) cut_off();
  EXPECT_LT(HeapInUse() - before, kVideos * kEncoderBytes / 2);
}

TEST_F(VideoTest, DeletedVideosDoNotCountAmongThoseThatAreKept) {
  Start({}, {.keep_ended = 2});
  const auto make = [&] {
    const std::shared_ptr<Video> video = Create(1, Disconnect::kContinue);
    Await([&] { return video->log().closed(); }, "the end");
    return video->name();
  };
  const std::string first = make(), second = make();
  studio->Delete({}, second, [](const absl::Status& status) { EXPECT_TRUE(status.ok()) << status; });
  const std::string third = make();
  EXPECT_TRUE(studio->Find({}, first).ok());
  EXPECT_TRUE(studio->Find({}, third).ok());
  make();
  Await([&] { return !studio->Find({}, first).ok(); }, "the oldest to be forgotten");
  EXPECT_TRUE(studio->Find({}, third).ok());
}

// Two lanes that overlap: the next block is denoised while this one is decoded.
TEST(BlockRecords, AreKeptApartWhereLanesOverlap) {
  using scheduler::PassKind;
  BlockRecords records(absl::Seconds(100));
  int now = 100;
  const auto pass = [&](PassKind kind, int block, int step) {
    now += 1;
    records.Add({.kind = kind,
                 .block = block,
                 .step = step,
                 .started = absl::Seconds(now - 1),
                 .ended = absl::Seconds(now),
                 .device_seconds = 1},
                {2 + block, block == 0 ? DecoderKind::kFull : DecoderKind::kTiny});
  };
  pass(PassKind::kDenoise, 0, 1);  // until 1
  pass(PassKind::kDenoise, 0, 2);  // 2
  pass(PassKind::kCommit, 0, 1);   // 3
  pass(PassKind::kDenoise, 1, 1);  // 4
  pass(PassKind::kDecode, 0, 1);   // 5
  pass(PassKind::kDenoise, 1, 2);  // 6
  pass(PassKind::kDecode, 0, 2);   // 7
  const BlockReport first = records.Take(0);
  EXPECT_EQ(first.steps, 2);
  EXPECT_EQ(first.decoder, DecoderKind::kFull);
  EXPECT_EQ(first.start, absl::Seconds(0));
  EXPECT_EQ(first.denoise, absl::Seconds(2));
  EXPECT_EQ(first.commit, absl::Seconds(3));
  EXPECT_EQ(first.decode, absl::Seconds(7));
  EXPECT_EQ(first.stages.denoise, absl::Seconds(2));
  EXPECT_EQ(first.stages.decode, absl::Seconds(2));
  const BlockReport second = records.Get(1);
  EXPECT_EQ(second.steps, 3);
  EXPECT_EQ(second.decoder, DecoderKind::kTiny);
  EXPECT_EQ(second.start, absl::Seconds(3));
  EXPECT_EQ(second.stages.denoise, absl::Seconds(2));
  EXPECT_EQ(second.stages.decode, absl::ZeroDuration());
}

}  // namespace
}  // namespace longtake::server
