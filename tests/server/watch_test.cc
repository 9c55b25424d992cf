// Videos that outlive the calls that made them: attached to, resumed, listed, cancelled, deleted.
#include <atomic>
#include <map>
#include <set>
#include <thread>

#include "absl/strings/str_cat.h"
#include "common/mutex.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/server/fake_clock.h"
#include "tests/server/gate.h"
#include "tests/server/server_fixture.h"

namespace longtake::server {
namespace {

class WatchTest : public ServerFixture {
 protected:
  ~WatchTest() override { server.reset(); }  // before the clock and the gate, which it uses

  // The engine stops before the first pass of this block of each video.
  FakeEngineOptions StopBefore(int block) {
    gate.Close();
    FakeEngineOptions options;
    options.delay = [this, block, denoised = std::map<SessionId, int>()](const Pass& pass) mutable {
      // Three steps a block.
      if (pass.kind == PassKind::kDenoise && denoised[pass.session]++ == 3 * block) gate.Pass();
      return absl::ZeroDuration();
    };
    return options;
  }

  v1::CreateVideoRequest CreateRequestOf(double seconds, int64_t seed = 1) {
    v1::CreateVideoRequest request;
    *request.mutable_spec() = Request(seconds, seed).spec();
    return request;
  }
  v1::Video Create(const v1::CreateVideoRequest& request, grpc::Status* status = nullptr) {
    grpc::ClientContext context;
    v1::Video video;
    const grpc::Status got = stub->CreateVideo(&context, request, &video);
    if (status != nullptr) {
      *status = got;
    } else {
      EXPECT_TRUE(got.ok()) << got.error_message();
    }
    return video;
  }
  v1::Video Get(const std::string& name, grpc::Status* status = nullptr) {
    grpc::ClientContext context;
    v1::GetVideoRequest request;
    request.set_name(name);
    v1::Video video;
    const grpc::Status got = stub->GetVideo(&context, request, &video);
    if (status != nullptr) *status = got;
    return video;
  }
  Watched Watch(const v1::WatchVideoRequest& request, const OnEvent& on_event = nullptr) {
    grpc::ClientContext context;
    return ReadAll(context, *stub->WatchVideo(&context, request), on_event);
  }
  static v1::WatchVideoRequest Of(const std::string& name) {
    v1::WatchVideoRequest request;
    request.set_name(name);
    return request;
  }
  void AwaitState(const std::string& name, v1::Video::State state) {
    Await([&] { return Get(name).state() == state; }, v1::Video::State_Name(state).c_str());
  }

  // The viewer goes with the first chunk. Returns the video's name once it has no viewer.
  std::string GenerateUntilAChunk(const v1::GenerateVideoRequest& request) {
    std::string name;
    Generate(request, [&](const v1::WatchVideoResponse& event, grpc::ClientContext& context) {
      if (event.has_accepted()) name = event.accepted().video().name();
      if (event.has_chunk()) context.TryCancel();
    });
    Await([&] { return Get(name).progress().viewer_count() == 0; }, "the viewer's end");
    ++left_alone;
    return name;
  }
  // Of videos that come one after the other by GenerateUntilAChunk, the engine stops before the second block of each
  // until it has no viewer. Otherwise it could be made before its viewer has gone.
  FakeEngineOptions StopUntilAlone() {
    FakeEngineOptions options;
    options.delay = [this, denoised = std::map<SessionId, int>()](const Pass& pass) mutable {
      if (pass.kind == PassKind::kDenoise && denoised[pass.session]++ == 3) {
        // The engine numbers its sessions from 1.
        Await([&] { return left_alone >= pass.session; }, "the viewer's end");
      }
      return absl::ZeroDuration();
    };
    return options;
  }

  static std::string BytesFrom(const Watched& video, int block) {
    std::string bytes;
    for (const v1::Chunk* chunk : video.chunks()) {
      if (chunk->block() >= block) bytes += chunk->data();
    }
    return bytes;
  }

  FakeClock clock;
  Gate gate;
  std::atomic<SessionId> left_alone = 0;  // videos whose viewer has gone
};

TEST_F(WatchTest, ViewersOfOneVideoGetTheSameBytesWhereverTheyCome) {
  StartAndServe(StopBefore(5));
  const std::string name = Create(CreateRequestOf(5)).name();  // ten blocks
  Await([&] { return Get(name).progress().block_count() == 5; }, "five blocks");
  Watched first, third, live;
  std::atomic<int> came = 0;
  const auto viewer = [&](Watched& out, v1::WatchVideoRequest request) {
    return std::thread([&out, &came, request, this] {
      out = Watch(request, [&, once = false](const auto& event, auto&) mutable {
        if (event.has_chunk() && !std::exchange(once, true)) ++came;
      });
    });
  };
  v1::WatchVideoRequest from_third = Of(name), at_edge = Of(name);
  from_third.set_from_block(3);
  at_edge.mutable_live_edge();
  std::thread threads[] = {viewer(first, Of(name)), viewer(third, from_third), viewer(live, at_edge)};
  Await([&] { return came == 3; }, "the viewers");
  EXPECT_EQ(Get(name).progress().viewer_count(), 3);
  gate.Open();
  for (std::thread& thread : threads) thread.join();
  for (const Watched* each : {&first, &third, &live}) {
    ASSERT_TRUE(each->status.ok()) << each->status.error_message();
    EXPECT_TRUE(each->events[0].has_accepted());
    EXPECT_TRUE(each->events[1].has_init_segment());
    EXPECT_TRUE(each->events.back().has_finished());
  }
  EXPECT_EQ(first.chunks().front()->block(), 0);
  EXPECT_EQ(third.chunks().front()->block(), 3);
  EXPECT_EQ(live.chunks().front()->block(), 4);
  EXPECT_EQ(BytesFrom(first, 3), BytesFrom(third, 0));
  EXPECT_EQ(BytesFrom(first, 4), BytesFrom(live, 0));
  // Afterwards too, and as one call would have made it.
  EXPECT_EQ(Watch(Of(name)).bytes, first.bytes);
  EXPECT_EQ(Generate(Request(5)).bytes, first.bytes);
  const v1::Video made = Get(name);
  EXPECT_EQ(made.state(), v1::Video::STATE_MADE);
  EXPECT_EQ(made.progress().block_count(), 10);
  EXPECT_TRUE(made.has_end_time());
}

TEST_F(WatchTest, ABlocksBytesDoNotDependOnWhatCameBefore) {
  StartAndServe();
  const auto story = [&](const char* first) {
    v1::GenerateVideoRequest request = Request(3);
    request.mutable_spec()->set_prompt(first);
    v1::PromptChange& change = *request.mutable_spec()->add_prompt_changes();
    change.set_prompt("a blue box");
    *change.mutable_at_offset() = ToProto(1.2);
    return Generate(request);
  };
  const Watched a = story("a red ball"), b = story("a green star");
  ASSERT_TRUE(a.status.ok() && b.status.ok());
  const int changed = 3;  // of blocks of half a second
  EXPECT_EQ(BytesFrom(a, changed), BytesFrom(b, changed));
  EXPECT_GT(BytesFrom(a, changed).size(), 0u);
  EXPECT_NE(BytesFrom(a, changed - 1), BytesFrom(b, changed - 1)) << "the one before shows another prompt";
}

TEST_F(WatchTest, AWatchGoesOnAfterAnyResponse) {
  StartAndServe({.noisy = true}, {.studio = {.max_part_bytes = 2'000}});
  const std::string name = Create(CreateRequestOf(1)).name();
  const Watched whole = Watch(Of(name));
  ASSERT_TRUE(whole.status.ok());
  size_t parts = 0;
  for (size_t i = 0; i + 1 < whole.events.size(); ++i) {
    if (whole.events[i].has_progress()) continue;
    v1::WatchVideoRequest request = Of(name);
    request.set_resume_token(whole.events[i].resume_token());
    const Watched rest = Watch(request);
    ASSERT_TRUE(rest.status.ok()) << i << ": " << rest.status.error_message();
    std::vector<std::string> expected, got;
    for (size_t k = i + 1; k < whole.events.size(); ++k) {
      if (!whole.events[k].has_progress()) expected.push_back(whole.events[k].SerializeAsString());
    }
    for (const v1::WatchVideoResponse& event : rest.events) got.push_back(event.SerializeAsString());
    EXPECT_EQ(got, expected) << i;
    parts += whole.events[i].has_chunk() && !LastPart(whole.events[i].chunk()) ? 1 : 0;
  }
  EXPECT_GT(parts, 0u) << "some tokens are of the middle of a chunk";

  v1::WatchVideoRequest request = Of(name);
  for (const std::string& token :
       {std::string("x"), std::string("00000000.1.0"), absl::StrCat(name.substr(7, 8), ".999.0")}) {
    request.set_resume_token(token);
    const Watched refused = Watch(request);
    EXPECT_EQ(ReasonOf(refused.status), "INVALID_REQUEST") << token;
    EXPECT_EQ(DetailOf<google::rpc::BadRequest>(refused.status)->field_violations(0).field(), "resume_token");
  }
  request.set_from_block(2);
  EXPECT_EQ(DetailOf<google::rpc::BadRequest>(Watch(request).status)->field_violations(0).field(), "from_block");
}

TEST_F(WatchTest, AWatchThatDoesNotFollowEndsWithWhatIsThere) {
  StartAndServe(StopBefore(2));
  const std::string name = Create(CreateRequestOf(5)).name();
  Await([&] { return Get(name).progress().block_count() == 2; }, "two blocks");
  v1::WatchVideoRequest request = Of(name);
  request.set_follow(false);
  Watched now;
  // A block counts as made just before its last chunk is there.
  Await([&] { return BlocksOf(now = Watch(request)).size() == 2; }, "two blocks of chunks");
  EXPECT_TRUE(now.status.ok());
  EXPECT_FALSE(now.events.back().has_finished());
  gate.Open();
}

TEST_F(WatchTest, ARequestIdTwiceIsOneVideo) {
  StartAndServe();
  v1::CreateVideoRequest request = CreateRequestOf(1);
  request.set_request_id("b9f8a6ce-6ff5-4d6c-8b8e-1d2f0f8f4a3e");
  const v1::Video first = Create(request);
  EXPECT_EQ(Create(request).name(), first.name());
  EXPECT_EQ(first.request_id(), request.request_id());
  v1::GenerateVideoRequest same = Request(1);
  same.set_request_id(request.request_id());
  const Watched watched = Generate(same);
  EXPECT_TRUE(watched.status.ok());
  EXPECT_EQ(watched.video().name(), first.name());

  request.mutable_spec()->set_prompt("a blue ball");
  grpc::Status status;
  Create(request, &status);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::ALREADY_EXISTS);
  EXPECT_EQ(ReasonOf(status), "REQUEST_ID_REUSED");
  request.set_request_id("not this one");
  Create(request, &status);
  EXPECT_EQ(DetailOf<google::rpc::BadRequest>(status)->field_violations(0).field(), "request_id");

  // At the same time.
  request = CreateRequestOf(1, 5);
  request.set_request_id("at-once");
  std::set<std::string> names;
  Mutex mutex;
  std::vector<std::thread> threads;
  for (int i = 0; i < 8; ++i) {
    threads.emplace_back([&] {
      const std::string name = Create(request).name();
      const MutexLock lock(mutex);
      names.insert(name);
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(names.size(), 1u);
}

TEST_F(WatchTest, IdsOfNoVideoAndOfAnotherServerAreNotFound) {
  StartAndServe();
  const std::string elsewhere = "videos/0123456789abcdef0123456789abcdef";
  for (const std::string& name : {elsewhere, std::string("videos/1"), std::string("1"), std::string()}) {
    grpc::Status status;
    Get(name, &status);
    EXPECT_EQ(ReasonOf(status), "VIDEO_NOT_FOUND") << name;
    EXPECT_EQ(status.error_code(), grpc::StatusCode::NOT_FOUND);
    EXPECT_EQ(ReasonOf(Watch(Of(name)).status), "VIDEO_NOT_FOUND");
    grpc::ClientContext cancel_context;
    v1::CancelVideoRequest cancel;
    cancel.set_name(name);
    v1::Video video;
    EXPECT_EQ(ReasonOf(stub->CancelVideo(&cancel_context, cancel, &video)), "VIDEO_NOT_FOUND");
    EXPECT_EQ(ReasonOf(Delete(name)), "VIDEO_NOT_FOUND");
  }
}

TEST_F(WatchTest, CancelEndsAVideoAndKeepsWhatWasMade) {
  StartAndServe(StopBefore(2));
  const std::string name = Create(CreateRequestOf(5)).name();
  Await([&] { return Get(name).progress().block_count() == 2; }, "two blocks");
  grpc::ClientContext context;
  v1::CancelVideoRequest request;
  request.set_name(name);
  v1::Video video;
  ASSERT_TRUE(stub->CancelVideo(&context, request, &video).ok());
  EXPECT_EQ(video.state(), v1::Video::STATE_CANCELLED);
  EXPECT_EQ(video.error().code(), static_cast<int>(grpc::StatusCode::CANCELLED));
  gate.Open();
  const Watched made = Watch(Of(name));
  EXPECT_EQ(made.status.error_code(), grpc::StatusCode::CANCELLED);
  EXPECT_EQ(ReasonOf(made.status), "VIDEO_CANCELLED");
  EXPECT_EQ(BlocksOf(made).size(), 2u);
  Await([&] { return engine->open_sessions() == 0; }, "the slot");
}

TEST_F(WatchTest, ADeletedVideoIsForgotten) {
  StartAndServe(StopBefore(1));
  v1::CreateVideoRequest create = CreateRequestOf(5);
  create.set_request_id("again");
  const std::string name = Create(create).name();
  Watched cut;
  std::thread viewer([&] { cut = Watch(Of(name)); });
  Await([&] { return Get(name).progress().viewer_count() == 1; }, "the viewer");
  EXPECT_TRUE(Delete(name).ok());
  viewer.join();
  EXPECT_EQ(ReasonOf(cut.status), "VIDEO_NOT_FOUND");
  gate.Open();
  Await([&] { return engine->open_sessions() == 0; }, "the slot");
  EXPECT_NE(Create(create).name(), name) << "its request id is free";
}

TEST_F(WatchTest, VideosAreListedByPagesTheNewestFirst) {
  StartAndServe();
  std::vector<std::string> names;
  for (int i = 0; i < 5; ++i) names.push_back(Create(CreateRequestOf(0.5, i)).name());
  v1::ListVideosRequest request;
  request.set_page_size(2);
  std::vector<std::string> listed;
  int pages = 0;
  do {
    grpc::ClientContext context;
    v1::ListVideosResponse response;
    ASSERT_TRUE(stub->ListVideos(&context, request, &response).ok());
    for (const v1::Video& video : response.videos()) listed.push_back(video.name());
    request.set_page_token(response.next_page_token());
    ++pages;
  } while (!request.page_token().empty());
  EXPECT_EQ(pages, 3);
  EXPECT_TRUE(std::equal(listed.begin(), listed.end(), names.rbegin(), names.rend()));
  request.set_page_token("x");
  grpc::ClientContext context;
  v1::ListVideosResponse response;
  EXPECT_EQ(
      DetailOf<google::rpc::BadRequest>(stub->ListVideos(&context, request, &response))->field_violations(0).field(),
      "page_token");
}

TEST_F(WatchTest, DisconnectPolicies) {
  StartAndServe(StopUntilAlone(), {.clock = &clock});
  const auto generate = [&](v1::DisconnectPolicy policy, absl::Duration timeout, int64_t seed, bool offline = false) {
    v1::GenerateVideoRequest request = Request(10, seed);
    if (offline) request.mutable_delivery_options()->set_delivery(v1::DELIVERY_OFFLINE);
    request.mutable_delivery_options()->set_disconnect_policy(policy);
    *request.mutable_delivery_options()->mutable_reconnect_timeout() = ToProto(absl::ToDoubleSeconds(timeout));
    return GenerateUntilAChunk(request);
  };
  const std::string paused = generate(v1::DISCONNECT_POLICY_PAUSE, absl::Minutes(1), 1);
  AwaitState(paused, v1::Video::STATE_PAUSED);
  const std::string paused_offline = generate(v1::DISCONNECT_POLICY_PAUSE, absl::Minutes(1), 5, /*offline=*/true);
  AwaitState(paused_offline, v1::Video::STATE_PAUSED);
  const std::string at_once = generate(v1::DISCONNECT_POLICY_CANCEL, absl::ZeroDuration(), 2);
  AwaitState(at_once, v1::Video::STATE_CANCELLED);
  const std::string late = generate(v1::DISCONNECT_POLICY_CANCEL, absl::Seconds(20), 3);
  const std::string to_the_end = generate(v1::DISCONNECT_POLICY_CONTINUE, absl::ZeroDuration(), 4);
  AwaitState(to_the_end, v1::Video::STATE_MADE);
  // Of offline videos the earlier one goes first, if it goes on at all.
  const std::string offline_to_the_end = generate(v1::DISCONNECT_POLICY_CONTINUE, absl::ZeroDuration(), 6, true);
  AwaitState(offline_to_the_end, v1::Video::STATE_MADE);
  EXPECT_EQ(Get(late).state(), v1::Video::STATE_MAKING);
  clock.Advance(absl::Seconds(21));
  AwaitState(late, v1::Video::STATE_CANCELLED);

  // A paused one stands still: the block that went out, and no more behind it than the two that may be undelivered.
  for (const std::string& name : {paused, paused_offline}) {
    EXPECT_EQ(Get(name).state(), v1::Video::STATE_PAUSED);
    EXPECT_LE(Get(name).progress().block_count(), 3);
    const Watched rest = Watch(Of(name));
    EXPECT_TRUE(rest.status.ok()) << rest.status.error_message();
    EXPECT_EQ(BlocksOf(rest).size(), 20u);
    EXPECT_EQ(Get(name).state(), v1::Video::STATE_MADE);
  }
}

TEST_F(WatchTest, APausedVideoToWhichNobodyReturnsIsCancelled) {
  StartAndServe(StopUntilAlone(), {.clock = &clock});
  v1::GenerateVideoRequest request = Request(10);
  request.mutable_delivery_options()->set_disconnect_policy(v1::DISCONNECT_POLICY_PAUSE);
  const std::string name = GenerateUntilAChunk(request);
  AwaitState(name, v1::Video::STATE_PAUSED);
  EXPECT_EQ(Seconds(Get(name).delivery_options().reconnect_timeout()), 300) << "the default";
  clock.Advance(absl::Minutes(5) + absl::Seconds(1));
  AwaitState(name, v1::Video::STATE_CANCELLED);
  Await([&] { return engine->open_sessions() == 0; }, "the slot");
}

TEST_F(WatchTest, NoSilenceIsLongerThanTenSeconds) {
  // The clock goes on by a minute between two looks of the server.
  StartAndServe(StopBefore(0), {.studio = {.max_unread = absl::InfiniteDuration()}, .clock = &clock});
  const std::string name = Create(CreateRequestOf(1)).name();
  Await([&] { return Get(name).state() == v1::Video::STATE_MAKING; }, "the text pass");
  v1::WatchVideoRequest request = Of(name);
  request.set_without_progress(true);
  std::atomic<int> progress = 0;
  std::thread viewer([&] {
    const Watched video = Watch(request, [&](const auto& event, auto&) { progress += event.has_progress() ? 1 : 0; });
    EXPECT_TRUE(video.status.ok());
  });
  Await([&] { return Get(name).progress().viewer_count() == 1; }, "the viewer");
  for (int i = 1; i <= 3; ++i) {
    // Nothing else happens: the engine stands still.
    Await(
        [&] {
          if (progress < i) clock.Advance(absl::Seconds(1));
          return progress >= i;
        },
        "a repeated event");
  }
  gate.Open();
  viewer.join();
}

TEST_F(WatchTest, TheOldestVideosLoseTheirChunksFirst) {
  StartAndServe({.noisy = true}, {.studio = {.keep_bytes = 200'000}});
  std::vector<std::string> names;
  for (int i = 0; i < 6; ++i) {
    names.push_back(Create(CreateRequestOf(2, i)).name());
    AwaitState(names.back(), v1::Video::STATE_MADE);
  }
  const Watched newest = Watch(Of(names.back()));
  EXPECT_TRUE(newest.status.ok());
  ASSERT_GT(newest.bytes.size(), 40'000u) << "six of them are too many";
  const Watched oldest = Watch(Of(names.front()));
  EXPECT_EQ(oldest.status.error_code(), grpc::StatusCode::OUT_OF_RANGE);
  EXPECT_EQ(ReasonOf(oldest.status), "BLOCK_NOT_KEPT");
  EXPECT_EQ(Get(names.front()).state(), v1::Video::STATE_MADE) << "is still known";
}

}  // namespace
}  // namespace longtake::server
