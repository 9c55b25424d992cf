// The bundled model behind the whole server: whatever else is being made, a stream's MP4 bytes are those of its solo
// run.
//   stream_bytes_test [--mixes=N]   (10; 50 are the project's promise)
#include <grpcpp/grpcpp.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <random>
#include <thread>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "absl/time/clock.h"
#include "clients/cli/proto_time.h"
#include "gtest/gtest.h"
#include "longtake/v1/video_service.grpc.pb.h"
#include "server/server.h"
#include "spdlog/logger.h"
#include "spdlog/sinks/null_sink.h"
#include "tests/engine/temp_folder.h"

namespace longtake::server {
namespace {

using client::Seconds;
using client::ToProto;

int mixes = 10;

constexpr char kBundled[] = "models/longtake-tiny";
// The bundled model's parts at two sizes, with fewer steps, so that many streams fit into a minute.
constexpr char kTwoSizes[] = R"({"sampler":"few_step","timesteps":[1000,800,400],"shift":1.0,"block_latent_frames":2,
  "state_window_blocks":2,"lower_case":true,"caption_tokens":28,"sizes":["256x160","128x96"],"max_latent_frames":1024})";

struct Job {
  const char* prompt;
  int width, height;
  double seconds;
  bool offline;
  double switch_at = 0;  // above 0: from there on the video shows `next_prompt`
  const char* next_prompt = "";
};

constexpr Job kJobs[] = {
    {"a big red ball bounces above the meadow under a blue sky", 256, 160, 2.0, false},
    {"a small yellow star moves left above the sea under a night sky", 128, 96, 3.5, false},
    {"a blue box", 128, 96, 0.1, false},
    {"a green triangle rises slowly above the desert under a sunset sky", 256, 160, 1.3, true},
    {"a white ring falls above the snow under a night sky", 128, 96, 2.6, true, 1.0, "a red box rises above the sea"},
    {"a pink star spinning above the meadow under a foggy sky", 256, 160, 0.8, false},
    {"a purple ball moves in a circle", 128, 96, 4.2, false, 2.0, "a green star moves left above the snow"},
    {"an orange box moves right quickly", 256, 160, 1.7, true},
};

class StreamBytes : public testing::Test {
 protected:
  void SetUp() override {
    for (const char* part : {"transformer", "vae", "text_encoder", "tokenizer"}) {
      std::filesystem::create_directory_symlink(std::filesystem::absolute(absl::StrCat(kBundled, "/", part)),
                                                absl::StrCat(folder.path(), "/", part));
    }
    std::ofstream(folder.path() + "/longtake.json") << kTwoSizes;
    auto engine = Engine::Load({.model_dir = folder.path(), .threads = 2, .max_sessions = 4});
    ASSERT_TRUE(engine.ok()) << engine.status();
    ServerOptions options;
    options.listen = "127.0.0.1:0";
    options.studio = {.max_sessions = 4, .max_waiting = 64, .max_wait = absl::InfiniteDuration()};
    auto started = Server::Start(options, &logger);
    ASSERT_TRUE(started.ok()) << started.status();
    server = *std::move(started);
    server->Serve(*std::move(engine));
    stub = v1::VideoService::NewStub(
        grpc::CreateChannel(absl::StrCat("127.0.0.1:", server->port()), grpc::InsecureChannelCredentials()));
  }

  struct Viewing {
    int cancel_after = -1;  // chunks; negative: never
    const char* wish = "";  // a prompt that the viewer asks for when the first chunk is there
  };
  struct Stream {
    std::string bytes;
    double wish_from = 0;  // seconds of the video that the wish holds from; 0: it came too late
  };
  // Its seed is that of kJobs[number].
  Stream Make(const Job& job, const Viewing& viewing, size_t number) {
    v1::GenerateVideoRequest request;
    v1::VideoSpec& spec = *request.mutable_spec();
    spec.set_prompt(job.prompt);
    *spec.mutable_duration() = ToProto(job.seconds);
    spec.set_seed(static_cast<int64_t>(number) + 1);
    spec.mutable_size()->set_width(job.width);
    spec.mutable_size()->set_height(job.height);
    request.mutable_delivery_options()->set_delivery(job.offline ? v1::DELIVERY_OFFLINE : v1::DELIVERY_LIVE);
    if (job.switch_at > 0) {
      v1::PromptChange& change = *spec.add_prompt_changes();
      *change.mutable_at_offset() = ToProto(job.switch_at);
      change.set_prompt(job.next_prompt);
    }
    grpc::ClientContext context;
    auto reader = stub->GenerateVideo(&context, request);
    Stream stream;
    v1::WatchVideoResponse event;
    int chunks = 0;
    std::string name;
    if (viewing.cancel_after == 0) context.TryCancel();
    while (reader->Read(&event)) {
      if (event.has_accepted()) name = event.accepted().video().name();
      if (event.has_init_segment()) stream.bytes += event.init_segment().data();
      if (!event.has_chunk()) continue;
      stream.bytes += event.chunk().data();
      if (event.chunk().part() + 1 < event.chunk().part_count()) continue;
      if (++chunks == viewing.cancel_after) context.TryCancel();
      if (chunks == 1 && *viewing.wish != 0) stream.wish_from = Wish(name, viewing.wish);
    }
    const grpc::Status status = reader->Finish();
    EXPECT_TRUE(status.ok() || (viewing.cancel_after >= 0 && status.error_code() == grpc::StatusCode::CANCELLED))
        << status.error_message();
    return stream;
  }

  // From which second of the video on it holds; 0: the last block had begun.
  double Wish(const std::string& name, const char* prompt) {
    grpc::ClientContext context;
    v1::ChangePromptRequest request;
    request.set_name(name);
    request.mutable_change()->set_prompt(prompt);
    request.mutable_change()->mutable_next_block();
    v1::ChangePromptResponse response;
    const grpc::Status status = stub->ChangePrompt(&context, request, &response);
    EXPECT_TRUE(status.ok() || status.error_code() == grpc::StatusCode::FAILED_PRECONDITION ||
                status.error_code() == grpc::StatusCode::NOT_FOUND)
        << status.error_message();
    return status.ok() ? Seconds(response.receipt().pts_offset()) : 0;
  }

  TempFolder folder;
  spdlog::logger logger{"test", std::make_shared<spdlog::sinks::null_sink_mt>()};
  std::unique_ptr<Server> server;
  std::unique_ptr<v1::VideoService::Stub> stub;
};

TEST_F(StreamBytes, AreThoseOfTheSoloRunInRandomMixes) {
  std::vector<std::string> solo;
  for (size_t i = 0; i < std::size(kJobs); ++i) {
    solo.push_back(Make(kJobs[i], {}, i).bytes);
    EXPECT_GT(solo.back().size(), 1000u);
  }
  Job not_switched = kJobs[6];
  not_switched.switch_at = 0;
  EXPECT_NE(Make(not_switched, {}, 6).bytes, solo[6]);
  EXPECT_NE(solo[0].substr(0, 4000), solo[5].substr(0, 4000));
  int whole = 0, cut = 0, switched = 0;
  for (int mix = 0; mix < mixes; ++mix) {
    std::mt19937 random(mix);
    struct Guest {
      size_t job = 0;
      int join_ms = 0;
      Viewing viewing;
      Stream stream;
    };
    // More than there are places: some wait.
    std::vector<Guest> guests(2 + random() % 5);
    for (Guest& guest : guests) {
      guest.job = random() % std::size(kJobs);
      guest.join_ms = static_cast<int>(random() % 400);
      if (random() % 3 == 0) {
        guest.viewing.cancel_after = static_cast<int>(random() % 4);
      } else if (kJobs[guest.job].switch_at == 0 && random() % 2 == 0) {
        guest.viewing.wish = "a white star falls above the desert";
      }
    }
    std::vector<std::thread> threads;
    for (Guest& guest : guests) {
      threads.emplace_back([&] {
        absl::SleepFor(absl::Milliseconds(guest.join_ms));
        guest.stream = Make(kJobs[guest.job], guest.viewing, guest.job);
      });
    }
    for (std::thread& thread : threads) thread.join();
    for (const Guest& guest : guests) {
      const std::string& bytes = guest.stream.bytes;
      std::string expected = solo[guest.job];
      if (guest.stream.wish_from > 0) {
        // The same as if it had been in the request.
        Job job = kJobs[guest.job];
        job.switch_at = guest.stream.wish_from;
        job.next_prompt = guest.viewing.wish;
        expected = Make(job, {}, guest.job).bytes;
        EXPECT_NE(expected, solo[guest.job]);
        ++switched;
      }
      // A cancel may come when all has been sent.
      if (guest.viewing.cancel_after < 0 || bytes.size() == expected.size()) {
        EXPECT_TRUE(bytes == expected) << "mix " << mix << ", job " << guest.job;
        ++whole;
      } else {
        ASSERT_LE(bytes.size(), expected.size());
        EXPECT_TRUE(expected.compare(0, bytes.size(), bytes) == 0)
            << "mix " << mix << ", job " << guest.job << " differs before its cancel";
        ++cut;
      }
    }
  }
  EXPECT_GT(whole, mixes);
  EXPECT_GT(cut, mixes / 10);
  EXPECT_GT(switched, 0);
  if (!HasFailure())
    std::cout << mixes << " mixes: " << whole << " whole streams and " << cut << " cancelled ones, " << switched
              << " prompts changed while they ran; all bytes equal\n";
}

}  // namespace
}  // namespace longtake::server

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  for (int i = 1; i < argc; ++i) {
    absl::string_view argument = argv[i];
    if (!absl::ConsumePrefix(&argument, "--mixes=") || !absl::SimpleAtoi(argument, &longtake::server::mixes)) {
      std::cerr << "unknown argument " << argv[i] << "\n";
      return 2;
    }
  }
  return RUN_ALL_TESTS();
}
