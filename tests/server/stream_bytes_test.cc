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
#include "gtest/gtest.h"
#include "longtake/v1/longtake.grpc.pb.h"
#include "server/server.h"
#include "spdlog/logger.h"
#include "spdlog/sinks/null_sink.h"
#include "tests/engine/temp_folder.h"

namespace longtake::server {
namespace {

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
};

constexpr Job kJobs[] = {
    {"a big red ball bounces above the meadow under a blue sky", 256, 160, 2.0, false},
    {"a small yellow star moves left above the sea under a night sky", 128, 96, 3.5, false},
    {"a blue box", 128, 96, 0.1, false},
    {"a green triangle rises slowly above the desert under a sunset sky", 256, 160, 1.3, true},
    {"a white ring falls above the snow under a night sky", 128, 96, 2.6, true},
    {"a pink star spinning above the meadow under a foggy sky", 256, 160, 0.8, false},
    {"a purple ball moves in a circle", 128, 96, 4.2, false},
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
    auto started = Server::Start({.listen = "127.0.0.1:0", .max_sessions = 4, .max_waiting = 64}, &logger);
    ASSERT_TRUE(started.ok()) << started.status();
    server = *std::move(started);
    server->Serve(*std::move(engine));
    stub = v1::LongtakeService::NewStub(
        grpc::CreateChannel(absl::StrCat("127.0.0.1:", server->port()), grpc::InsecureChannelCredentials()));
  }

  // All bytes that arrive; cancelled once `cancel_after` chunks are there, if that is not negative.
  std::string Make(const Job& job, int cancel_after = -1) {
    v1::GenerateRequest request;
    request.set_prompt(job.prompt);
    request.set_seconds(job.seconds);
    request.set_seed(static_cast<uint64_t>(&job - kJobs) + 1);
    request.mutable_size()->set_width(job.width);
    request.mutable_size()->set_height(job.height);
    request.set_delivery(job.offline ? v1::DELIVERY_OFFLINE : v1::DELIVERY_LIVE);
    grpc::ClientContext context;
    auto reader = stub->Generate(&context, request);
    std::string bytes;
    v1::GenerateEvent event;
    int chunks = 0;
    if (cancel_after == 0) context.TryCancel();
    while (reader->Read(&event)) {
      if (!event.has_chunk()) continue;
      bytes += event.chunk().data();
      if (event.chunk().last_part() && ++chunks == cancel_after) context.TryCancel();
    }
    const grpc::Status status = reader->Finish();
    EXPECT_TRUE(status.ok() || (cancel_after >= 0 && status.error_code() == grpc::StatusCode::CANCELLED))
        << status.error_message();
    return bytes;
  }

  TempFolder folder;
  spdlog::logger logger{"test", std::make_shared<spdlog::sinks::null_sink_mt>()};
  std::unique_ptr<Server> server;
  std::unique_ptr<v1::LongtakeService::Stub> stub;
};

TEST_F(StreamBytes, AreThoseOfTheSoloRunInRandomMixes) {
  std::vector<std::string> solo;
  for (const Job& job : kJobs) {
    solo.push_back(Make(job));
    EXPECT_GT(solo.back().size(), 1000u);
  }
  EXPECT_NE(solo[0].substr(0, 4000), solo[5].substr(0, 4000));
  int whole = 0, cut = 0;
  for (int mix = 0; mix < mixes; ++mix) {
    std::mt19937 random(mix);
    struct Stream {
      size_t job = 0;
      int join_ms = 0, cancel_after = -1;
      std::string bytes;
    };
    // More than there are places: some wait.
    std::vector<Stream> streams(2 + random() % 5);
    for (Stream& stream : streams) {
      stream.job = random() % std::size(kJobs);
      stream.join_ms = static_cast<int>(random() % 400);
      if (random() % 3 == 0) stream.cancel_after = static_cast<int>(random() % 4);
    }
    std::vector<std::thread> threads;
    for (Stream& stream : streams) {
      threads.emplace_back([&] {
        absl::SleepFor(absl::Milliseconds(stream.join_ms));
        stream.bytes = Make(kJobs[stream.job], stream.cancel_after);
      });
    }
    for (std::thread& thread : threads) thread.join();
    for (const Stream& stream : streams) {
      const std::string& expected = solo[stream.job];
      // A cancel may come when all has been sent.
      if (stream.cancel_after < 0 || stream.bytes.size() == expected.size()) {
        EXPECT_TRUE(stream.bytes == expected) << "mix " << mix << ", job " << stream.job;
        ++whole;
      } else {
        ASSERT_LE(stream.bytes.size(), expected.size());
        EXPECT_TRUE(expected.compare(0, stream.bytes.size(), stream.bytes) == 0)
            << "mix " << mix << ", job " << stream.job << " differs before its cancel";
        ++cut;
      }
    }
  }
  EXPECT_GT(whole, mixes);
  EXPECT_GT(cut, mixes / 10);
  if (!HasFailure())
    std::cout << mixes << " mixes: " << whole << " whole streams and " << cut << " cancelled ones, all bytes equal\n";
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
