// A whole server over real gRPC, with an engine that makes coloured frames.
#ifndef LONGTAKE_TESTS_SERVER_SERVER_FIXTURE_H_
#define LONGTAKE_TESTS_SERVER_SERVER_FIXTURE_H_

#include <grpcpp/grpcpp.h>
#include <grpcpp/impl/client_unary_call.h>

#include <algorithm>
#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "clients/cli/proto_time.h"
#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"
#include "gtest/gtest.h"
#include "longtake/v1/model_service.grpc.pb.h"
#include "longtake/v1/video_service.grpc.pb.h"
#include "server/server.h"
#include "spdlog/logger.h"
#include "spdlog/sinks/base_sink.h"
#include "tests/server/fake_engine.h"

namespace longtake::server {

using client::Seconds;
using client::ToProto;

// The detail of this type; nothing where the status has none.
template <typename Detail>
std::optional<Detail> DetailOf(const grpc::Status& status) {
  google::rpc::Status details;
  Detail detail;
  if (!details.ParseFromString(status.error_details())) return std::nullopt;
  for (const google::protobuf::Any& any : details.details()) {
    if (any.UnpackTo(&detail)) return detail;
  }
  return std::nullopt;
}

// ErrorInfo's reason; every error has one.
inline std::string ReasonOf(const grpc::Status& status) {
  const auto info = DetailOf<google::rpc::ErrorInfo>(status);
  return info.has_value() && info->domain() == "longtake" ? info->reason() : "none";
}

// Everything of one call.
struct Watched {
  grpc::Status status;
  std::multimap<std::string, std::string> trailers;
  std::vector<v1::WatchVideoResponse> events;
  std::string bytes;

  const v1::Accepted& accepted() const { return events.front().accepted(); }
  const v1::Video& video() const { return accepted().video(); }
  const v1::Finished& finished() const { return events.back().finished(); }
  std::vector<const v1::Chunk*> chunks() const {
    std::vector<const v1::Chunk*> chunks;
    for (const v1::WatchVideoResponse& event : events) {
      if (event.has_chunk()) chunks.push_back(&event.chunk());
    }
    return chunks;
  }
};

// The last part of each block's last chunk.
inline std::vector<const v1::Chunk*> BlocksOf(const Watched& video) {
  std::vector<const v1::Chunk*> blocks;
  for (const v1::Chunk* chunk : video.chunks()) {
    if (chunk->has_report()) blocks.push_back(chunk);
  }
  return blocks;
}

inline bool LastPart(const v1::Chunk& chunk) { return chunk.part() + 1 == chunk.part_count(); }

inline v1::GenerateVideoRequest Request(double seconds, int64_t seed = 1) {
  v1::GenerateVideoRequest request;
  request.mutable_spec()->set_prompt("a red ball");
  *request.mutable_spec()->mutable_duration() = ToProto(seconds);
  request.mutable_spec()->set_seed(seed);
  return request;
}

// All that a logger has written. It may be read while other threads write.
class TextSink : public spdlog::sinks::base_sink<std::mutex> {
 public:
  std::string text() {
    const std::lock_guard<std::mutex> lock(mutex_);
    return text_;
  }

 private:
  void sink_it_(const spdlog::details::log_msg& message) override {
    spdlog::memory_buf_t line;
    formatter_->format(message, line);
    text_.append(line.data(), line.size());
  }
  void flush_() override {}

  std::string text_;  // guarded by the base's mutex_
};

class ServerFixture : public testing::Test {
 protected:
  // Before the clocks and gates of derived fixtures are gone.
  void TearDown() override { server.reset(); }
  void Start(FakeEngineOptions engine_options = {}, ServerOptions options = {}) {
    options.listen = "127.0.0.1:0";
    options.studio.max_sessions = engine_options.max_sessions;
    options.studio.max_wait = max_wait;
    auto server_or = Server::Start(options, &logger);
    ASSERT_TRUE(server_or.ok()) << server_or.status();
    server = *std::move(server_or);
    channel = grpc::CreateChannel(absl::StrCat("127.0.0.1:", server->port()), grpc::InsecureChannelCredentials());
    stub = v1::VideoService::NewStub(channel);
    models = v1::ModelService::NewStub(channel);
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

  // Ends it without grace.
  void Drain() {
    server->Stop(/*grace=*/false);
    ASSERT_TRUE(server->AwaitStopped(absl::Minutes(1)));
  }

  // grpc.health.v1.Health/Check by hand: the status' number, 1 SERVING, 2 NOT_SERVING; 0 for an error.
  int Health(const std::string& service = "") {
    std::string request;
    if (!service.empty()) request = absl::StrCat("\x0a", std::string(1, static_cast<char>(service.size())), service);
    grpc::Slice slice(request);
    grpc::ByteBuffer out(&slice, 1), in;
    grpc::ClientContext context;
    const grpc::internal::RpcMethod method("/grpc.health.v1.Health/Check", grpc::internal::RpcMethod::NORMAL_RPC);
    const grpc::Status status = grpc::internal::BlockingUnaryCallImpl<grpc::ByteBuffer, grpc::ByteBuffer>(
                                    channel.get(), method, &context, out, &in)
                                    .status();
    grpc::Slice answer;
    if (!status.ok() || !in.DumpToSingleSlice(&answer).ok() || answer.size() != 2) return 0;
    return answer.begin()[1];
  }

  using OnEvent = std::function<void(const v1::WatchVideoResponse&, grpc::ClientContext&)>;

  Watched Generate(const v1::GenerateVideoRequest& request, const OnEvent& on_event = nullptr) {
    grpc::ClientContext context;
    return ReadAll(context, *stub->GenerateVideo(&context, request), on_event);
  }
  Watched Watch(const std::string& name, const std::string& resume_token = {}, const OnEvent& on_event = nullptr) {
    v1::WatchVideoRequest request;
    request.set_name(name);
    request.set_follow(true);
    if (!resume_token.empty()) request.set_resume_token(resume_token);
    grpc::ClientContext context;
    return ReadAll(context, *stub->WatchVideo(&context, request), on_event);
  }
  grpc::Status Delete(const std::string& name) { return DeleteAt(*stub, name); }
  static grpc::Status DeleteAt(v1::VideoService::Stub& at, const std::string& name) {
    v1::DeleteVideoRequest request;
    request.set_name(name);
    grpc::ClientContext context;
    google::protobuf::Empty nothing;
    return at.DeleteVideo(&context, request, &nothing);
  }
  static Watched ReadAll(grpc::ClientContext& context, grpc::ClientReader<v1::WatchVideoResponse>& reader,
                         const OnEvent& on_event) {
    Watched video;
    v1::WatchVideoResponse event;
    while (reader.Read(&event)) {
      if (event.has_init_segment()) video.bytes += event.init_segment().data();
      if (event.has_chunk()) video.bytes += event.chunk().data();
      video.events.push_back(event);
      if (on_event) on_event(event, context);
    }
    video.status = reader.Finish();
    for (const auto& [key, value] : context.GetServerTrailingMetadata()) {
      video.trailers.emplace(std::string(key.data(), key.size()), std::string(value.data(), value.size()));
    }
    return video;
  }

  // Waits for a condition that other threads bring about; fails after two minutes.
  static void Await(const std::function<bool()>& condition, const char* what) {
    for (int i = 0; i < 120'000; ++i) {
      if (condition()) return;
      absl::SleepFor(absl::Milliseconds(1));
    }
    FAIL() << "waited in vain for " << what;
  }
  // The same for a text in the metrics. What a client sees may come before it is counted.
  void AwaitMetrics(const std::string& text) {
    Await([&] { return absl::StrContains(server->MetricsText(), text); }, text.c_str());
  }

  using Delay = std::function<absl::Duration(const Pass&)>;

  // FakeEngineOptions::delay: before the n-th pass of this kind, counted from 1, the engine waits for `go`.
  static Delay HoldBefore(PassKind kind, int n, std::function<bool()> go, const char* what) {
    return [=, passes = 0](const Pass& pass) mutable {
      if (pass.kind == kind && ++passes == n) Await(go, what);
      return absl::ZeroDuration();
    };
  }
  // The same until `go_on`, which lives as long as the engine, as what a test declares does not.
  Delay HoldBefore(PassKind kind, int n, const char* what) {
    return HoldBefore(
        kind, n, [this] { return go_on.load(); }, what);
  }
  // Blocks that the engine has committed.
  int Commits() const {
    int commits = 0;
    for (const FakeEngine::Ran& ran : engine->ran()) commits += ran.kind == PassKind::kCommit ? 1 : 0;
    return commits;
  }
  // How many passes of sessions with this seed have ended.
  int64_t PassesOf(uint64_t seed) const {
    const std::vector<FakeEngine::Ran> ran = engine->ran();
    return std::count_if(ran.begin(), ran.end(), [&](const FakeEngine::Ran& pass) { return pass.seed == seed; });
  }

  std::string LogText() const { return lines->text(); }

  absl::Duration max_wait =
      absl::InfiniteDuration();     // the server's: so long that tests on a busy machine are not refused
  std::atomic<bool> go_on = false;  // HoldBefore
  const std::shared_ptr<TextSink> lines = std::make_shared<TextSink>();
  spdlog::logger logger{"test", lines};
  std::unique_ptr<Server> server;
  std::shared_ptr<grpc::Channel> channel;
  std::unique_ptr<v1::VideoService::Stub> stub;
  std::unique_ptr<v1::ModelService::Stub> models;
  std::unique_ptr<FakeEngine> waiting_engine;
  FakeEngine* engine = nullptr;
};

}  // namespace longtake::server

#endif  // LONGTAKE_TESTS_SERVER_SERVER_FIXTURE_H_
