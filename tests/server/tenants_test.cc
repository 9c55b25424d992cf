// A video is its tenant's: no other one can see, change or end it, or find out that it exists.
#include <google/protobuf/dynamic_message.h>

#include <span>

#include "common/crc32c.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/server/access_fixture.h"
#include "tests/server/gate.h"

namespace longtake::server {
namespace {

using google::protobuf::Message;
using google::protobuf::MethodDescriptor;
using google::protobuf::ServiceDescriptor;
using Stub = v1::VideoService::Stub;

class TenantsTest : public AccessFixture {
 protected:
  v1::Video Create(const std::string& caller, const std::string& request_id = "", double seconds = 1) {
    v1::CreateVideoRequest request;
    *request.mutable_spec() = Request(seconds).spec();
    request.set_request_id(request_id);
    v1::Video video;
    created = As(caller, &Stub::CreateVideo, request, video);
    return video;
  }
  std::vector<std::string> List(const std::string& caller, int page_size = 0) {
    std::vector<std::string> names;
    v1::ListVideosRequest request;
    request.set_page_size(page_size);
    do {
      v1::ListVideosResponse response;
      const grpc::Status status = As(caller, &Stub::ListVideos, request, response);
      EXPECT_TRUE(status.ok()) << status.error_message();
      for (const v1::Video& video : response.videos()) names.push_back(video.name());
      // The last page is full or not, but never empty behind another one.
      EXPECT_TRUE(response.videos_size() > 0 || request.page_token().empty());
      request.set_page_token(response.next_page_token());
    } while (!request.page_token().empty());
    return names;
  }
  grpc::Status created;
};

// Methods whose request names a video, each with a request that is right but for the name.
std::map<std::string, std::string> RequestsFor(const std::string& name) {
  std::map<std::string, std::string> requests;
  const ServiceDescriptor* service =
      google::protobuf::DescriptorPool::generated_pool()->FindServiceByName("longtake.v1.VideoService");
  for (int i = 0; i < service->method_count(); ++i) {
    const MethodDescriptor& method = *service->method(i);
    const google::protobuf::FieldDescriptor* field = method.input_type()->FindFieldByName("name");
    if (field == nullptr) continue;
    const std::unique_ptr<Message> request(
        google::protobuf::MessageFactory::generated_factory()->GetPrototype(method.input_type())->New());
    request->GetReflection()->SetString(request.get(), field, name);
    if (auto* change = dynamic_cast<v1::ChangePromptRequest*>(request.get()); change != nullptr) {
      change->mutable_change()->set_prompt("a blue ball");
      change->mutable_change()->mutable_next_block();
    } else if (auto* report = dynamic_cast<v1::ReportPlaybackRequest*>(request.get()); report != nullptr) {
      *report->mutable_position_offset() = ToProto(0.1);
    } else if (auto* fork = dynamic_cast<v1::ForkVideoRequest*>(request.get()); fork != nullptr) {
      fork->set_from_block(1);
      fork->set_prompt("a blue ball");
    } else if (auto* link = dynamic_cast<v1::CreateViewingLinkRequest*>(request.get()); link != nullptr) {
      *link->mutable_duration() = ToProto(60);
    }
    requests[absl::StrCat("/longtake.v1.VideoService/", method.name())] = request->SerializeAsString();
  }
  return requests;
}

TEST_F(TenantsTest, AnotherTenantsVideoDoesNotExist) {
  Gate gate;
  gate.Close();
  StartAndServe({.max_sessions = 1,
                 .delay =
                     [&gate](const Pass&) {
                       gate.Pass();
                       return absl::ZeroDuration();
                     }},
                WithTokens());
  const v1::Video video = Create("alice");
  const std::map<std::string, std::string> requests = RequestsFor(video.name());
  EXPECT_GE(requests.size(), 7u);
  std::map<std::string, grpc::Status> while_it_exists;
  for (const auto& [method, request] : requests) while_it_exists[method] = Call(channel, method, "carol", request);
  // Nothing has happened to it.
  v1::GetVideoRequest get;
  get.set_name(video.name());
  v1::Video found;
  ASSERT_TRUE(As("bob", &Stub::GetVideo, get, found).ok());  // of alice's tenant
  EXPECT_NE(found.state(), v1::Video::STATE_CANCELLED);
  gate.Open();

  google::protobuf::Empty empty;
  v1::DeleteVideoRequest remove;
  remove.set_name(video.name());
  ASSERT_TRUE(As("alice", &Stub::DeleteVideo, remove, empty).ok());
  for (const auto& [method, request] : requests) {
    const grpc::Status& before = while_it_exists.at(method);
    const grpc::Status after = Call(channel, method, "carol", request);
    EXPECT_EQ(before.error_code(), after.error_code()) << method;
    EXPECT_EQ(before.error_message(), after.error_message()) << method;
    EXPECT_EQ(before.error_details(), after.error_details()) << method;
    if (ReasonOf(before) == "NOT_IMPLEMENTED") continue;
    EXPECT_EQ(ReasonOf(before), "VIDEO_NOT_FOUND") << method << " " << before.error_message();
  }
}

TEST_F(TenantsTest, EachSeesItsOwn) {
  StartAndServe({}, WithTokens());
  std::vector<std::string> alices, carols;
  for (int i = 0; i < 3; ++i) {
    alices.insert(alices.begin(), Create(i == 1 ? "bob" : "alice").name());
    carols.insert(carols.begin(), Create("carol").name());
  }
  for (const int page_size : {0, 1, 2, 3}) {
    EXPECT_EQ(List("alice", page_size), alices) << page_size;
    EXPECT_EQ(List("carol", page_size), carols) << page_size;
  }
  EXPECT_EQ(List("bob"), alices);
}

TEST_F(TenantsTest, RequestIdsAreEachTenantsOwn) {
  StartAndServe({}, WithTokens());
  const std::string first = Create("alice", "id").name();
  EXPECT_EQ(Create("bob", "id").name(), first);
  const std::string others = Create("carol", "id", /*seconds=*/2).name();
  EXPECT_TRUE(created.ok()) << created.error_message();
  EXPECT_NE(others, first);
  EXPECT_EQ(Create("carol", "id", /*seconds=*/2).name(), others);
  Create("alice", "id", /*seconds=*/2);
  EXPECT_EQ(ReasonOf(created), "REQUEST_ID_REUSED");
  // One's going leaves the other's.
  google::protobuf::Empty empty;
  v1::DeleteVideoRequest remove;
  remove.set_name(others);
  ASSERT_TRUE(As("carol", &Stub::DeleteVideo, remove, empty).ok());
  EXPECT_EQ(Create("alice", "id").name(), first);
  EXPECT_NE(Create("carol", "id").name(), others);
}

TEST_F(TenantsTest, TheStoreKnowsWhoseAVideoIs) {
  StartAndServe({}, WithTokens({.store = folder + "/store"}));
  const v1::GenerateVideoRequest request = [] {
    v1::GenerateVideoRequest made = Request(1);
    made.set_request_id("id");
    return made;
  }();
  const Watched video = GenerateAs("alice", request);
  ASSERT_TRUE(video.status.ok()) << video.status.error_message();
  server.reset();

  StartAndServe({}, WithTokens({.store = folder + "/store"}));
  EXPECT_EQ(List("alice"), std::vector<std::string>{video.video().name()});
  EXPECT_EQ(List("carol"), std::vector<std::string>());
  v1::WatchVideoRequest watch;
  watch.set_name(video.video().name());
  EXPECT_EQ(ReasonOf(WatchAs("carol", watch).status), "VIDEO_NOT_FOUND");
  EXPECT_EQ(WatchAs("alice", watch).bytes, video.bytes);
  EXPECT_EQ(Create("bob", "id").name(), video.video().name());
  const Watched others = GenerateAs("carol", request);
  EXPECT_TRUE(others.status.ok());
  EXPECT_NE(others.video().name(), video.video().name());
}

TEST_F(TenantsTest, AVideoStoredBeforeThereWereTenantsIsOfTheEmptyOne) {
  const std::string store = folder + "/store";
  StartAndServe({}, {.store = store});
  const std::string name = Generate(Request(1)).video().name();
  server.reset();
  const std::string path = absl::StrCat(store, "/", name, "/video.json");
  std::ifstream in(path);
  nlohmann::json file = nlohmann::json::parse(in);
  ASSERT_EQ(file["body"].erase("tenant"), 1u);
  const std::string body = file["body"].dump();
  file["crc32c"] = Crc32c(std::as_bytes(std::span(body)));
  std::ofstream(path) << file.dump();

  StartAndServe({}, {.store = store});
  EXPECT_EQ(List(""), std::vector<std::string>{name});
  server.reset();
  StartAndServe({}, WithTokens({.store = store}));
  EXPECT_EQ(List("alice"), std::vector<std::string>());
}

}  // namespace
}  // namespace longtake::server
