// Videos that outlive their server. A crash is a copy of the store, taken while the server works.
#include <atomic>
#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/engine/temp_folder.h"
#include "tests/server/server_fixture.h"

namespace longtake::server {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

// What a video's log says: all events but those that pass.
std::vector<std::string> LogOf(const Watched& video) {
  std::vector<std::string> log;
  for (const v1::WatchVideoResponse& event : video.events) {
    if (!event.has_waiting() && !event.has_progress()) log.push_back(event.SerializeAsString());
  }
  return log;
}

class RestoreTest : public ServerFixture {
 protected:
  // On this directory of the folder.
  void StartOn(const std::string& directory, FakeEngineOptions engine_options = {}, ServerOptions options = {}) {
    server.reset();
    options.store = Path(directory);
    StartAndServe(std::move(engine_options), std::move(options));
  }
  std::string Path(const std::string& name) const { return folder.path() + "/" + name; }
  // The server is killed now, and its store is `to`. It goes on meanwhile: a copy counts if nothing changed under it.
  void Crash(const std::string& from, const std::string& to) {
    const auto files = [&] {
      std::map<std::string, fs::file_time_type> found;
      std::error_code gone;
      for (fs::recursive_directory_iterator at(Path(from), gone), end; !gone && at != end; at.increment(gone)) {
        const fs::file_time_type written = fs::last_write_time(at->path(), gone);
        if (!gone) found[at->path()] = written;
      }
      return gone ? std::map<std::string, fs::file_time_type>() : found;
    };
    for (int i = 0; i < 1000; ++i) {
      const auto before = files();
      std::error_code failed;
      fs::copy(Path(from), Path(to), fs::copy_options::recursive, failed);
      if (!failed && !before.empty() && files() == before) return;
      fs::remove_all(Path(to));
    }
    FAIL() << "the store changes without a pause";
  }
  v1::Video Get(const std::string& name) {
    v1::GetVideoRequest request;
    request.set_name(name);
    grpc::ClientContext context;
    v1::Video video;
    const grpc::Status status = stub->GetVideo(&context, request, &video);
    EXPECT_TRUE(status.ok()) << status.error_message();
    return video;
  }
  // How many blocks of it are in the store.
  int Blocks(const std::string& directory, const std::string& name) const {
    int blocks = 0;
    while (fs::exists(absl::StrFormat("%s/%s/block-%05d.json", Path(directory), name, blocks))) ++blocks;
    return blocks;
  }
  // What a video of 5 s is where nothing happens. One like it, `last_name`, was cut off by a crash when four blocks of
  // it and a checkpoint were stored, in "crash".
  Watched CutOff() {
    StartOn("whole");
    Watched undisturbed = Generate(Kept(5));
    std::atomic<bool> accepted = false;
    int commits = 0;
    StartOn("store", {.delay = [&](const Pass& pass) {
              if (pass.kind != PassKind::kCommit || ++commits != 8) return absl::ZeroDuration();
              Await([&] { return accepted.load() && Blocks("store", last_name) >= 4; }, "some blocks");
              Crash("store", "crash");
              return absl::ZeroDuration();
            }});
    Generate(Kept(5), [&](const v1::WatchVideoResponse& event, grpc::ClientContext& /*context*/) {
      if (event.has_accepted()) last_name = event.accepted().video().name();
      accepted = true;
    });
    server.reset();
    EXPECT_TRUE(fs::exists(Path("crash/" + last_name + "/checkpoint")));
    return undisturbed;
  }
  // The server that is started on this directory makes the rest of `last_name`.
  void ExpectTheRest(const std::string& directory, const Watched& undisturbed, FakeEngineOptions engine_options = {}) {
    StartOn(directory, std::move(engine_options));
    const Watched after = Watch(last_name);
    EXPECT_TRUE(after.status.ok()) << after.status.error_message();
    EXPECT_EQ(after.bytes, undisturbed.bytes);
    EXPECT_EQ(engine->passes_out_of_order(), 0);
  }
  static v1::GenerateVideoRequest Kept(double seconds) {
    v1::GenerateVideoRequest request = Request(seconds);
    request.mutable_delivery_options()->set_disconnect_policy(v1::DISCONNECT_POLICY_CONTINUE);
    return request;
  }

  const TempFolder folder;
  std::string last_name;  // of the newest video
};

TEST_F(RestoreTest, AFinishedVideoIsTheSameAfterARestart) {
  StartOn("store");
  const Watched before = Generate(Kept(5));
  ASSERT_TRUE(before.status.ok()) << before.status.error_message();
  const std::string name = before.video().name();
  // The call's end is told before the server has let its viewer go.
  Await([&] { return Get(name).progress().viewer_count() == 0; }, "the viewer's end");
  const v1::Video described = Get(name);

  StartOn("store");
  EXPECT_EQ(engine->open_sessions(), 0);
  v1::Video after = Get(name);
  EXPECT_EQ(after.SerializeAsString(), described.SerializeAsString());
  const Watched again = Watch(name);
  EXPECT_TRUE(again.status.ok()) << again.status.error_message();
  EXPECT_EQ(again.bytes, before.bytes);
  EXPECT_EQ(LogOf(again), LogOf(before)) << "event for event, resume tokens among them";
  EXPECT_TRUE(engine->ran().empty()) << "it was made again";
  // From a place in the middle.
  const std::string token = before.events[before.events.size() / 2].resume_token();
  const Watched rest = Watch(name, token);
  EXPECT_TRUE(rest.status.ok());
  EXPECT_TRUE(before.bytes.ends_with(rest.bytes));
  EXPECT_LT(rest.bytes.size(), before.bytes.size());
  EXPECT_GT(rest.bytes.size(), 0u);
}

TEST_F(RestoreTest, AVideoKeepsItsDecoder) {
  FakeEngineOptions options;
  options.model = FakeModel();
  options.model.has_tiny_decoder = true;
  StartOn("store", options);
  v1::GenerateVideoRequest request = Kept(2);
  request.mutable_spec()->set_decoder(v1::DECODER_TINY);
  const Watched tiny = Generate(request), full = Generate(Kept(2));
  ASSERT_TRUE(tiny.status.ok() && full.status.ok());
  StartOn("store", options);
  EXPECT_EQ(Get(tiny.video().name()).spec().decoder(), v1::DECODER_TINY);
  EXPECT_EQ(Get(full.video().name()).spec().decoder(), v1::DECODER_FULL);
}

// Half a second of this adaptive video takes 0.6 s by the full decoder, so that some of its blocks are the tiny one's.
// The server that goes on is not slow, and makes them as they were shown.
TEST_F(RestoreTest, BlocksThatAreMadeAgainKeepTheirDecoder) {
  FakeEngineOptions options;
  options.model = FakeModel();
  options.model.has_tiny_decoder = true;
  options.model.tiny_decode_cost = 0.1;
  std::atomic<bool> accepted = false;
  int commits = 0;
  options.delay = [&](const Pass& pass) {
    if (pass.kind == PassKind::kDecode && pass.decoder == DecoderKind::kFull) return absl::Milliseconds(300);
    if (pass.kind != PassKind::kCommit || ++commits != 7) return absl::ZeroDuration();
    Await([&] { return accepted.load() && Blocks("store", last_name) >= 4; }, "some blocks");
    Crash("store", "crash");
    return absl::ZeroDuration();
  };
  StartOn("store", options);
  v1::GenerateVideoRequest request = Kept(4);
  request.mutable_delivery_options()->set_fidelity(v1::FIDELITY_ADAPTIVE);
  const Watched seen = Generate(request, [&](const v1::WatchVideoResponse& event, grpc::ClientContext& /*context*/) {
    if (event.has_accepted()) last_name = event.accepted().video().name();
    accepted = true;
  });
  ASSERT_TRUE(seen.status.ok());
  server.reset();

  const int stored = Blocks("crash", last_name);
  fs::remove(Path("crash/" + last_name + "/checkpoint"));
  std::vector<v1::Decoder> made;
  options.delay = [&](const Pass& pass) {
    if (pass.kind == PassKind::kDecode) {
      made.push_back(pass.decoder == DecoderKind::kTiny ? v1::DECODER_TINY : v1::DECODER_FULL);
    }
    return absl::ZeroDuration();
  };
  StartOn("crash", options);
  const Watched after = Watch(last_name);
  ASSERT_TRUE(after.status.ok()) << after.status.error_message();
  std::vector<v1::Decoder> shown;
  for (const v1::Chunk* chunk : after.chunks()) shown.push_back(chunk->decoder());
  EXPECT_EQ(made, shown) << "a latent frame is a chunk";
  for (size_t i = 0; i < shown.size() && after.chunks()[i]->block() < stored; ++i) {
    EXPECT_EQ(shown[i], seen.chunks()[i]->decoder());
    EXPECT_EQ(after.chunks()[i]->data(), seen.chunks()[i]->data());
  }
  EXPECT_THAT(shown, testing::Contains(v1::DECODER_TINY));
  EXPECT_THAT(shown, testing::Contains(v1::DECODER_FULL));
}

TEST_F(RestoreTest, ItsFolderIsAnHlsPresentation) {
  StartOn("store");
  const Watched video = Generate(Kept(2));
  const std::string path = Path("store/" + video.video().name());
  std::ifstream index(path + "/index.m3u8");
  std::string line, bytes;
  double seconds = 0;
  bool ended = false;
  const auto read = [&](const std::string& name) {
    std::ifstream file(path + "/" + name, std::ios::binary);
    bytes.append(std::istreambuf_iterator<char>(file), {});
  };
  while (std::getline(index, line)) {
    if (line == "#EXT-X-MAP:URI=\"init.mp4\"") read("init.mp4");
    if (line.starts_with("#EXTINF:")) seconds += std::stod(line.substr(8));
    if (!line.starts_with("#")) read(line);
    ended = line == "#EXT-X-ENDLIST";
  }
  EXPECT_EQ(bytes, video.bytes);
  EXPECT_TRUE(ended);
  EXPECT_NEAR(seconds, Seconds(video.finished().duration()), 1e-4);
}

TEST_F(RestoreTest, AnInterruptedVideoGoesOnWithTheSameBytes) {
  StartOn("whole");
  const Watched undisturbed = Generate(Kept(5));
  ASSERT_TRUE(undisturbed.status.ok());
  const int blocks = static_cast<int>(BlocksOf(undisturbed).size());

  // While the engine waits for the copy, no further block is begun. Before its acceptance is told there is no video.
  std::atomic<bool> accepted = false;
  int crashes = 0, commits = 0;
  StartOn("store", {.delay = [&](const Pass& pass) {
            if (pass.kind != PassKind::kCommit || commits++ % 3 != 1) return absl::ZeroDuration();
            Await([&] { return accepted.load(); }, "the acceptance");
            Crash("store", absl::StrCat("crash", crashes++));
            return absl::ZeroDuration();
          }});
  const Watched seen = Generate(
      Kept(5), [&](const v1::WatchVideoResponse& /*event*/, grpc::ClientContext& /*context*/) { accepted = true; });
  ASSERT_GT(crashes, 2);
  bool from_checkpoint = false;
  const std::string name = seen.video().name();
  for (int i = 0; i < crashes; ++i) {
    const std::string directory = absl::StrCat("crash", i);
    const int stored = Blocks(directory, name);
    EXPECT_LT(stored, blocks);
    StartOn(directory);
    // Whoever had seen so much by the crash, also of a block that was not stored, comes back at once and gets the rest.
    std::string had;
    for (const v1::WatchVideoResponse& event : seen.events) {
      if (event.has_init_segment()) had += event.init_segment().data();
      if (event.has_chunk()) had += event.chunk().data();
      if (!event.has_chunk() || event.chunk().block() < stored) continue;
      EXPECT_EQ(had + Watch(name, event.resume_token()).bytes, undisturbed.bytes);
      break;
    }
    const Watched after = Watch(name);
    EXPECT_TRUE(after.status.ok()) << after.status.error_message();
    EXPECT_EQ(after.bytes, undisturbed.bytes) << "with " << stored << " blocks stored";
    EXPECT_EQ(Get(name).state(), v1::Video::STATE_MADE);
    EXPECT_EQ(engine->passes_out_of_order(), 0);
    // With so many blocks there is a checkpoint behind the first ones.
    if (stored >= 4) {
      EXPECT_LT(Commits(), blocks) << "it was made again from its beginning";
      from_checkpoint = true;
    }
  }
  EXPECT_TRUE(from_checkpoint);
}

TEST_F(RestoreTest, ADamagedCheckpointCostsTimeOnly) {
  const Watched undisturbed = CutOff();
  std::ofstream(Path("crash/" + last_name + "/checkpoint"), std::ios::app) << "?";
  ExpectTheRest("crash", undisturbed);
  EXPECT_EQ(Commits(), static_cast<int>(BlocksOf(undisturbed).size()));
}

// As where another version of it has written it.
TEST_F(RestoreTest, ACheckpointThatTheEngineCannotReadCostsTimeOnly) {
  const Watched undisturbed = CutOff();
  ExpectTheRest("crash", undisturbed, {.checkpoints = absl::DataLossError("checkpoint: it has version 2; 1 is read")});
  EXPECT_EQ(Commits(), static_cast<int>(BlocksOf(undisturbed).size()));
  EXPECT_THAT(LogText(), HasSubstr("a checkpoint cannot be used, and its blocks are made again name=" + last_name));
}

TEST_F(RestoreTest, DamagedBlocksOfAnUnfinishedVideoAreMadeAgain) {
  const Watched undisturbed = CutOff();
  for (const char* file : {"block-00000.json", "block-00002.m4s", "block-00003.json"}) {
    const std::string copy = absl::StrCat("damaged-", file);
    fs::copy(Path("crash"), Path(copy), fs::copy_options::recursive);
    const std::string damaged = absl::StrCat(Path(copy), "/", last_name, "/", file);
    if (absl::EndsWith(file, ".json")) {
      fs::resize_file(damaged, fs::file_size(damaged) / 2);
    } else {
      std::fstream(damaged, std::ios::in | std::ios::out | std::ios::binary).seekp(100).put('?');
    }
    ExpectTheRest(copy, undisturbed);
    EXPECT_THAT(LogText(), HasSubstr(absl::StrCat("name=", last_name, " error=\"store: ", last_name, "/", file)));
    ExpectTheRest(copy, undisturbed);
    EXPECT_TRUE(engine->ran().empty()) << file << ": it was made once more";
  }
}

TEST_F(RestoreTest, AServerThatShutsDownLeavesItsVideosToTheNext) {
  StartOn("whole");
  const Watched undisturbed = Generate(Kept(5));
  // No further block is begun before the videos are ended, a tenth of a second after the stop.
  const absl::Duration reading = absl::Minutes(5);
  StartOn("store",
          {.delay = HoldBefore(
               PassKind::kDenoise, 10, [this] { return absl::StrContains(LogText(), "still being made are ended"); },
               "the cut")},
          {.lifecycle = {.shutdown_limit = reading + absl::Milliseconds(100), .shutdown_reading = reading}});
  const Watched cut = Generate(Kept(5), [&](const v1::WatchVideoResponse& event, grpc::ClientContext&) {
    if (event.has_chunk() && event.chunk().block() == 1) server->Stop(/*grace=*/false);
  });
  EXPECT_EQ(cut.status.error_code(), grpc::StatusCode::UNAVAILABLE);
  const std::string name = cut.video().name();
  StartOn("store");
  const Watched rest = Watch(name, cut.events.back().resume_token());
  EXPECT_TRUE(rest.status.ok()) << rest.status.error_message();
  EXPECT_EQ(cut.bytes + rest.bytes, undisturbed.bytes);
}

TEST_F(RestoreTest, PromptsThatWereChangedAreKept) {
  const auto change = [this](const std::string& name, const std::string& prompt) {
    v1::ChangePromptRequest request;
    request.set_name(name);
    request.mutable_change()->set_prompt(prompt);
    *request.mutable_change()->mutable_at_offset() = ToProto(3.0);
    grpc::ClientContext context;
    v1::ChangePromptResponse response;
    const grpc::Status status = stub->ChangePrompt(&context, request, &response);
    EXPECT_TRUE(status.ok()) << status.error_message();
  };
  // The second block is committed when both changes are answered; of the two for one block the later holds.
  std::atomic<bool> changed = false;
  int commits = 0;
  std::function<void()> at_fourth_block;
  const FakeEngineOptions engine_options{.delay = [&](const Pass& pass) {
    if (pass.kind == PassKind::kCommit && ++commits == 2) Await([&] { return changed.load(); }, "the changes");
    if (pass.kind == PassKind::kCommit && commits == 4 && at_fourth_block) at_fourth_block();
    return absl::ZeroDuration();
  }};
  const auto changed_twice = [&] {
    changed = false;
    commits = 0;
    return Generate(Kept(5), [&](const v1::WatchVideoResponse& event, grpc::ClientContext&) {
      if (!event.has_accepted()) return;
      last_name = event.accepted().video().name();
      for (const char* prompt : {"a blue box", "a green star"}) change(last_name, prompt);
      changed = true;
    });
  };
  StartOn("whole", engine_options);
  const Watched undisturbed = changed_twice();
  ASSERT_TRUE(undisturbed.status.ok());
  at_fourth_block = [this] { Crash("store", "crash"); };
  StartOn("store", engine_options);
  changed_twice();
  StartOn("crash");
  const Watched after = Watch(last_name);
  EXPECT_TRUE(after.status.ok()) << after.status.error_message();
  EXPECT_EQ(after.bytes, undisturbed.bytes);
}

TEST_F(RestoreTest, ARequestIdIsKnownAgain) {
  StartOn("store");
  v1::GenerateVideoRequest request = Kept(1);
  request.set_request_id("mine");
  const Watched before = Generate(request);
  StartOn("store");
  const Watched again = Generate(request);
  EXPECT_EQ(again.video().name(), before.video().name());
  EXPECT_EQ(again.bytes, before.bytes);
  EXPECT_TRUE(engine->ran().empty());
  request.mutable_spec()->set_prompt("another");
  EXPECT_EQ(ReasonOf(Generate(request).status), "REQUEST_ID_REUSED");
}

TEST_F(RestoreTest, ACancelledVideoStaysCancelledAndADeletedOneIsGone) {
  StartOn("store", {.delay = HoldBefore(PassKind::kDenoise, 10, "the cancellation")});
  const auto cancel = [this](const v1::WatchVideoResponse& event, grpc::ClientContext&) {
    if (event.has_accepted()) last_name = event.accepted().video().name();
    if (!event.has_chunk() || event.chunk().block() != 2) return;
    v1::CancelVideoRequest request;
    request.set_name(last_name);
    grpc::ClientContext context;
    v1::Video video;
    EXPECT_TRUE(stub->CancelVideo(&context, request, &video).ok());
    go_on = true;
  };
  const Watched cut = Generate(Kept(5), cancel);
  EXPECT_EQ(cut.status.error_code(), grpc::StatusCode::CANCELLED);
  const std::string cancelled = last_name;
  const Watched whole = Generate(Kept(1));
  const std::string deleted = whole.video().name();
  EXPECT_TRUE(fs::exists(Path("store/" + deleted)));
  EXPECT_TRUE(Delete(deleted).ok());
  StartOn("store");
  EXPECT_FALSE(fs::exists(Path("store/" + deleted)));
  EXPECT_EQ(ReasonOf(Watch(deleted).status), "VIDEO_NOT_FOUND");
  EXPECT_EQ(Get(cancelled).state(), v1::Video::STATE_CANCELLED);
  const Watched again = Watch(cancelled);
  EXPECT_EQ(again.status.error_code(), grpc::StatusCode::CANCELLED);
  EXPECT_EQ(again.bytes, cut.bytes);
}

TEST_F(RestoreTest, WhatMemoryDoesNotHoldIsReadFromTheStore) {
  ServerOptions options;
  options.studio.keep_bytes = 1;
  StartOn("store", {.noisy = true}, options);
  const Watched before = Generate(Kept(5));
  ASSERT_TRUE(before.status.ok());
  for (int i = 0; i < 2; ++i) {
    const Watched again = Watch(before.video().name());
    EXPECT_TRUE(again.status.ok()) << again.status.error_message();
    EXPECT_EQ(again.bytes, before.bytes);
  }
  // Nor does a server that finds it in the store give it up for want of memory.
  StartOn("store", {.noisy = true}, options);
  Generate(Kept(2));
  EXPECT_EQ(Watch(before.video().name()).bytes, before.bytes);
}

TEST_F(RestoreTest, DamageIsAnErrorAndNothingElseSuffers) {
  StartOn("store");
  const Watched damaged = Generate(Kept(3)), unreadable = Generate(Kept(1)), sound = Generate(Kept(1));
  const Watched torn = Generate(Kept(3)), headless = Generate(Kept(1));
  server.reset();
  const std::string init = Path("store/" + headless.video().name() + "/init.mp4");
  std::fstream(init, std::ios::in | std::ios::out | std::ios::binary).seekp(40).put('?');
  const std::string segment = Path("store/" + damaged.video().name() + "/block-00002.m4s");
  ASSERT_TRUE(fs::exists(segment));
  std::fstream(segment, std::ios::in | std::ios::out | std::ios::binary).seekp(100).put('?');
  std::ofstream(Path("store/" + unreadable.video().name() + "/video.json")) << R"({"body": {"prompt": "a red ba)";
  fs::remove(Path("store/" + torn.video().name() + "/block-00003.json"));
  // Of one that nobody was told of.
  folder.Write("store/videos/0123/init.mp4", "");
  StartOn("store");
  const Watched cut = Watch(damaged.video().name());
  EXPECT_EQ(cut.status.error_code(), grpc::StatusCode::DATA_LOSS);
  EXPECT_EQ(ReasonOf(cut.status), "STORE_FAILED");
  EXPECT_THAT(cut.status.error_message(), HasSubstr("block-00002.m4s"));
  EXPECT_TRUE(damaged.bytes.starts_with(cut.bytes));
  EXPECT_GT(cut.bytes.size(), 1000u);
  EXPECT_EQ(ReasonOf(Watch(unreadable.video().name()).status), "VIDEO_NOT_FOUND");
  EXPECT_THAT(LogText(), HasSubstr(unreadable.video().name() + " error=\"store: "));
  EXPECT_EQ(ReasonOf(Watch(headless.video().name()).status), "VIDEO_NOT_FOUND");
  EXPECT_THAT(LogText(), HasSubstr("init.mp4: its bytes have changed"));
  EXPECT_THAT(LogText(), testing::Not(HasSubstr("a red")));
  const Watched cut_off = Watch(torn.video().name());
  EXPECT_EQ(cut_off.status.error_code(), grpc::StatusCode::DATA_LOSS);
  EXPECT_THAT(cut_off.status.error_message(), HasSubstr("block 3"));
  EXPECT_EQ(Watch(sound.video().name()).bytes, sound.bytes);
  EXPECT_TRUE(fs::exists(Path("store/" + unreadable.video().name()))) << "nothing damaged is removed";
  Await([&] { return !fs::exists(Path("store/videos/0123")); }, "the removal of what was never accepted");
}

TEST_F(RestoreTest, AStoreThatFailsStopsNoVideo) {
  folder.Write("store/videos", "a file where the folder of videos would be");
  StartOn("store");
  const Watched video = Generate(Kept(2));
  EXPECT_TRUE(video.status.ok()) << video.status.error_message();
  EXPECT_EQ(Watch(video.video().name()).bytes, video.bytes);
  EXPECT_THAT(server->MetricsText(), HasSubstr("longtake_store_failures_total 1\n"));
  EXPECT_THAT(LogText(), HasSubstr("is not stored any further name=" + video.video().name()));
}

// A video is cut after some blocks, and what another server says of it that has `other`.
class OtherModelTest : public RestoreTest {
 protected:
  void ExpectCut(const ModelInfo& model, const v1::GenerateVideoRequest& request, const ModelInfo& other,
                 const std::string& why) {
    std::atomic<bool> shown = false;
    int commits = 0;
    FakeEngineOptions first, second;
    first.model = model;
    first.delay = [&](const Pass& pass) {
      if (pass.kind != PassKind::kCommit || ++commits != 4) return absl::ZeroDuration();
      Await([&] { return shown.load(); }, "a block");
      Crash("store", "crash");
      return absl::ZeroDuration();
    };
    StartOn("store", first);
    const Watched video = Generate(request, [&](const v1::WatchVideoResponse& event, grpc::ClientContext& /*context*/) {
      if (event.has_chunk() && event.chunk().has_report()) shown = true;
    });
    second.model = other;
    StartOn("crash", second);
    const Watched cut = Watch(video.video().name());
    EXPECT_EQ(ReasonOf(cut.status), "OTHER_MODEL");
    EXPECT_THAT(cut.status.error_message(), HasSubstr(why));
    EXPECT_TRUE(video.bytes.starts_with(cut.bytes));
    EXPECT_GT(cut.bytes.size(), 1000u);
  }
};

TEST_F(OtherModelTest, DoesNotGoOn) {
  ModelInfo other = FakeModel();
  other.numerics_id = "other";
  ExpectCut(FakeModel(), Kept(5), other, "as fake-1 and not other");
}

TEST_F(OtherModelTest, DoesNotGoOnWithAnotherAdapterOfTheName) {
  ModelInfo model = FakeModel(), other = FakeModel();
  model.adapters = {{"style", "0000000000000001"}};
  other.adapters = {{"style", "0000000000000002"}};
  auto request = Kept(5);
  request.mutable_spec()->add_adapters()->set_name("style");
  ExpectCut(model, request, other, "the adapter \"style\" of the digest 0000000000000001");
}

}  // namespace
}  // namespace longtake::server
