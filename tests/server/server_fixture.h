// A whole server over real gRPC, with an engine that makes coloured frames.
#ifndef LONGTAKE_TESTS_SERVER_SERVER_FIXTURE_H_
#define LONGTAKE_TESTS_SERVER_SERVER_FIXTURE_H_

#include <grpcpp/grpcpp.h>

#include <functional>
#include <memory>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "gtest/gtest.h"
#include "longtake/v1/longtake.grpc.pb.h"
#include "server/server.h"
#include "spdlog/logger.h"
#include "spdlog/sinks/ostream_sink.h"
#include "tests/server/fake_engine.h"

namespace longtake::server {

// Everything of one call.
struct Video {
  grpc::Status status;
  std::vector<v1::GenerateEvent> events;
  std::string bytes;

  const v1::Accepted& accepted() const { return events.front().accepted(); }
  const v1::Finished& finished() const { return events.back().finished(); }
  std::vector<const v1::Chunk*> chunks() const {
    std::vector<const v1::Chunk*> chunks;
    for (const v1::GenerateEvent& event : events) {
      if (event.has_chunk()) chunks.push_back(&event.chunk());
    }
    return chunks;
  }
};

inline v1::GenerateRequest Request(double seconds, uint64_t seed = 1) {
  v1::GenerateRequest request;
  request.set_prompt("a red ball");
  request.set_seconds(seconds);
  request.set_seed(seed);
  return request;
}

class ServerFixture : public testing::Test {
 protected:
  void Start(FakeEngineOptions engine_options = {}, ServerOptions options = {}) {
    options.listen = "127.0.0.1:0";
    options.studio.max_sessions = engine_options.max_sessions;
    auto server_or = Server::Start(options, &logger);
    ASSERT_TRUE(server_or.ok()) << server_or.status();
    server = *std::move(server_or);
    channel = grpc::CreateChannel(absl::StrCat("127.0.0.1:", server->port()), grpc::InsecureChannelCredentials());
    stub = v1::LongtakeService::NewStub(channel);
    if (engine_options.model.name.empty()) engine_options.model = FakeModel();
    auto made = std::make_unique<FakeEngine>(engine_options);
    engine = made.get();
    waiting_engine = std::move(made);
  }
  void Serve() { server->Serve(std::move(waiting_engine)); }
  void StartAndServe(FakeEngineOptions engine_options = {}, ServerOptions options = {}) {
    Start(std::move(engine_options), std::move(options));
    Serve();
  }

  Video Generate(const v1::GenerateRequest& request,
                 const std::function<void(const v1::GenerateEvent&, grpc::ClientContext&)>& on_event = nullptr) {
    grpc::ClientContext context;
    auto reader = stub->Generate(&context, request);
    Video video;
    v1::GenerateEvent event;
    while (reader->Read(&event)) {
      if (event.has_chunk()) video.bytes += event.chunk().data();
      video.events.push_back(event);
      if (on_event) on_event(event, context);
    }
    video.status = reader->Finish();
    return video;
  }

  // Waits for a condition that other threads bring about; fails after ten seconds.
  static void Await(const std::function<bool()>& condition, const char* what) {
    for (int i = 0; i < 10000; ++i) {
      if (condition()) return;
      absl::SleepFor(absl::Milliseconds(1));
    }
    FAIL() << "waited in vain for " << what;
  }

  std::ostringstream log;
  spdlog::logger logger{"test", std::make_shared<spdlog::sinks::ostream_sink_mt>(log)};
  std::unique_ptr<Server> server;
  std::shared_ptr<grpc::Channel> channel;
  std::unique_ptr<v1::LongtakeService::Stub> stub;
  std::unique_ptr<FakeEngine> waiting_engine;
  FakeEngine* engine = nullptr;
};

}  // namespace longtake::server

#endif  // LONGTAKE_TESTS_SERVER_SERVER_FIXTURE_H_
