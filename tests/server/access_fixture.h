// A server that asks its callers who they are.
#ifndef LONGTAKE_TESTS_SERVER_ACCESS_FIXTURE_H_
#define LONGTAKE_TESTS_SERVER_ACCESS_FIXTURE_H_

#include <google/protobuf/descriptor.h>

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "tests/server/server_fixture.h"
#include "tests/server/test_keys.h"

namespace longtake::server {

// The token of a caller of this name; "acme" has alice and bob, "umbrella" has carol.
inline std::string TokenOf(const std::string& name) { return absl::StrCat("secret-of-", name); }

class AccessFixture : public ServerFixture {
 protected:
  void SetUp() override { std::filesystem::create_directory(folder); }
  void TearDown() override {
    ServerFixture::TearDown();
    std::filesystem::remove_all(folder);
  }
  std::string Write(const std::string& name, const std::string& text) const {
    const std::string path = absl::StrCat(folder, "/", name);
    std::ofstream(path + ".new", std::ios::binary) << text;
    std::filesystem::rename(path + ".new", path);
    return path;
  }
  ServerOptions WithTokens(ServerOptions options = {}) const {
    options.access.tokens = Write(
        "tokens", absl::StrCat("acme alice ", Sha256Hex(TokenOf("alice")), "\nacme bob ", Sha256Hex(TokenOf("bob")),
                               "\numbrella carol ", Sha256Hex(TokenOf("carol")), "\n"));
    return options;
  }
  static void Say(grpc::ClientContext& context, const std::string& name) {
    if (!name.empty()) context.AddMetadata("authorization", "Bearer " + TokenOf(name));
  }

  // Calls any method of any kind; the status of the answer. An empty caller has no token.
  static grpc::Status Call(const std::shared_ptr<grpc::Channel>& to, const std::string& method,
                           const std::string& caller, const std::string& request = "", std::string* answer = nullptr) {
    grpc::ClientContext context;
    Say(context, caller);
    const grpc::internal::RpcMethod rpc(method.c_str(), grpc::internal::RpcMethod::BIDI_STREAMING);
    const std::unique_ptr<grpc::ClientReaderWriter<grpc::ByteBuffer, grpc::ByteBuffer>> stream(
        grpc::internal::ClientReaderWriterFactory<grpc::ByteBuffer, grpc::ByteBuffer>::Create(to.get(), rpc, &context));
    const grpc::Slice slice(request);
    stream->Write(grpc::ByteBuffer(&slice, 1));
    stream->WritesDone();
    for (grpc::ByteBuffer part; stream->Read(&part);) {
      grpc::Slice flat;
      if (answer != nullptr && part.DumpToSingleSlice(&flat).ok()) {
        answer->append(reinterpret_cast<const char*>(flat.begin()), flat.size());
      }
    }
    return stream->Finish();
  }

  // A call with one answer, as this caller.
  template <typename Method, typename Request, typename Response>
  grpc::Status As(const std::string& caller, Method method, const Request& request, Response& response) {
    grpc::ClientContext context;
    Say(context, caller);
    return (stub.get()->*method)(&context, request, &response);
  }
  Watched GenerateAs(const std::string& caller, const v1::GenerateVideoRequest& request,
                     const OnEvent& on_event = nullptr) {
    grpc::ClientContext context;
    Say(context, caller);
    return ReadAll(context, *stub->GenerateVideo(&context, request), on_event);
  }
  Watched WatchAs(const std::string& caller, const v1::WatchVideoRequest& request, const OnEvent& on_event = nullptr) {
    grpc::ClientContext context;
    Say(context, caller);
    return ReadAll(context, *stub->WatchVideo(&context, request), on_event);
  }

  const std::string folder = absl::StrCat(testing::TempDir(), "/access_", getpid());
};

}  // namespace longtake::server

#endif  // LONGTAKE_TESTS_SERVER_ACCESS_FIXTURE_H_
