// A store in S3 whose service fails, and what it has beyond the promises of every store (store_contract_test).
#include "server/store/s3/s3_store.h"

#include <atomic>
#include <memory>
#include <sstream>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/store/s3/manifest.h"
#include "spdlog/logger.h"
#include "spdlog/sinks/ostream_sink.h"
#include "tests/engine/temp_folder.h"
#include "tests/server/fake_s3.h"
#include "tests/server/store_calls.h"

namespace longtake::server {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using Fault = FakeS3::Fault;

constexpr char kSecret[] = "wJalrXUtnFEMI-not-to-be-seen", kKeyId[] = "AKIA-not-to-be-seen",
               kToken[] = "token-not-to-be-seen";

class S3StoreTest : public testing::Test {
 protected:
  S3StoreTest() : logger("test", std::make_shared<spdlog::sinks::ostream_sink_mt>(log)) {
    options.endpoint = s3.endpoint();
    options.credentials = {kKeyId, kSecret, kToken};
  }
  ~S3StoreTest() override {
    for (const char* secret : {kSecret, kKeyId, kToken}) EXPECT_THAT(log.str(), Not(HasSubstr(secret)));
  }
  absl::StatusOr<std::unique_ptr<Store>> TryOpen(Sharing sharing = Sharing::kAlone) {
    return OpenS3Store("s3://videos/store", sharing, options, &logger);
  }
  std::unique_ptr<Store> Open(Sharing sharing = Sharing::kAlone) {
    absl::StatusOr<std::unique_ptr<Store>> store = TryOpen(sharing);
    EXPECT_TRUE(store.ok()) << store.status();
    (*store)->AwaitIdle();
    return *std::move(store);
  }
  // The next so many requests of this method fail so.
  void Fail(Fault fault, const std::string& method, int times) {
    auto left = std::make_shared<std::atomic<int>>(times);
    s3.SetFaults([=](const FakeS3::Request& request) {
      return request.method == method && (*left)-- > 0 ? fault : Fault::kNone;
    });
  }
  // All that is in the bucket but for the object that says who has it.
  std::vector<std::string> Keys() const {
    std::vector<std::string> keys;
    for (const auto& [key, bytes] : s3.objects()) {
      if (key != "store/owner") keys.push_back(key);
    }
    return keys;
  }

  FakeS3 s3;
  std::ostringstream log;
  spdlog::logger logger;
  S3Options options;
};

TEST_F(S3StoreTest, RequestsThatFailAreTriedAgain) {
  const auto store = Open();
  for (const Fault fault : {Fault::kBusy, Fault::kBroken, Fault::kLostAnswer}) {
    Fail(fault, "PUT", 2);
    ASSERT_TRUE(Put(*store, {{"videos/v/one", "1"}}).ok());
    ASSERT_TRUE(Put(*store, {{"videos/v/two", absl::StrCat("2 ", static_cast<int>(fault))}}).ok());
    Fail(fault, "GET", 2);
    EXPECT_EQ(Bytes(*store, "videos/v/one"), "1");
    EXPECT_EQ(Bytes(*store, "videos/v/two"), absl::StrCat("2 ", static_cast<int>(fault)));
    Fail(fault, "DELETE", 2);
    ASSERT_TRUE(Remove(*store, "videos/v/two").ok());
    EXPECT_THAT(Names(*store, "videos/v"), ElementsAre("one"));
  }
  Fail(Fault::kCut, "GET", 1);
  EXPECT_EQ(Bytes(*store, "videos/v/one"), "1");
  EXPECT_THAT(log.str(), IsEmpty());
}

// Each request's answer is lost once, those of conditional writes among them.
TEST_F(S3StoreTest, AWriteWhoseAnswerIsLostIsCarriedOutOnce) {
  const auto store = Open(Sharing::kShared);
  std::atomic<int> count = 0;
  s3.SetFaults([&](const FakeS3::Request& request) {
    return request.method == "PUT" && ++count % 2 == 1 ? Fault::kLostAnswer : Fault::kNone;
  });
  ASSERT_TRUE(Fence(*store, "videos/v", 1).ok());
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(Put(*store, {{absl::StrCat("videos/v/", i), absl::StrCat(i)}}, 1).ok());
  s3.SetFaults(nullptr);
  EXPECT_THAT(Names(*store, "videos/v"), ElementsAre("0", "1", "2"));
  EXPECT_EQ(Bytes(*store, "videos/v/2"), "2");
}

TEST_F(S3StoreTest, ARequestInWhichNothingMovesIsGivenUp) {
  options.stall = absl::Seconds(1);
  const auto store = Open();
  Fail(Fault::kSilence, "PUT", 1);
  ASSERT_TRUE(Put(*store, {{"videos/v/one", "1"}}).ok());
  EXPECT_EQ(Bytes(*store, "videos/v/one"), "1");
}

TEST_F(S3StoreTest, AServiceThatStaysAwayIsAnErrorAndMayComeBack) {
  options.retry = absl::ZeroDuration();
  const auto store = Open();
  ASSERT_TRUE(Put(*store, {{"videos/v/one", "1"}}).ok());
  s3.SetFaults([](const FakeS3::Request& /*request*/) { return Fault::kBusy; });
  for (int i = 0; i < 3; ++i) {
    const absl::Status failed = Put(*store, {{"videos/v/two", "2"}});
    EXPECT_TRUE(absl::IsUnavailable(failed)) << failed;
    EXPECT_THAT(std::string(failed.message()),
                AllOf(HasSubstr("store: cannot write s3://videos/store/objects/videos/v/"), HasSubstr("503 SlowDown")));
  }
  EXPECT_TRUE(absl::IsUnavailable(store->Get("videos/v/one").status()));
  EXPECT_TRUE(absl::IsUnavailable(store->List("videos").status()));
  EXPECT_TRUE(absl::IsUnavailable(Remove(*store, "videos/v")));
  s3.SetFaults(nullptr);
  ASSERT_TRUE(Put(*store, {{"videos/v/two", "2"}}).ok());
  EXPECT_EQ(Bytes(*store, "videos/v/one"), "1");
  EXPECT_THAT(Names(*store, "videos/v"), ElementsAre("one", "two"));
  // Once each, however many requests failed.
  const std::vector<std::string> lines = absl::StrSplit(log.str(), '\n', absl::SkipEmpty());
  ASSERT_EQ(lines.size(), 2u) << log.str();
  EXPECT_THAT(lines[0], HasSubstr("the store does not work"));
  EXPECT_THAT(lines[1], HasSubstr("the store works again"));
}

TEST_F(S3StoreTest, WhatCannotSucceedIsNotTriedAgain) {
  options.retry = absl::InfiniteDuration();
  const auto store = Open();
  s3.SetFaults([](const FakeS3::Request& /*request*/) { return Fault::kDenied; });
  const absl::Status denied = Put(*store, {{"videos/v/one", "1"}});
  EXPECT_TRUE(absl::IsUnavailable(denied)) << denied;
  EXPECT_THAT(std::string(denied.message()), HasSubstr("403 AccessDenied: AccessDenied it is"));
  s3.SetFaults([](const FakeS3::Request& /*request*/) { return Fault::kFull; });
  EXPECT_TRUE(absl::IsResourceExhausted(Put(*store, {{"videos/v/one", "1"}})));
}

TEST_F(S3StoreTest, AServiceThatKeepsNoConditionsIsRefused) {
  s3.IgnoreConditions();
  const absl::Status opened = TryOpen().status();
  EXPECT_TRUE(absl::IsFailedPrecondition(opened)) << opened;
  EXPECT_THAT(std::string(opened.message()), HasSubstr("the service does not keep If-Match and If-None-Match"));
  EXPECT_THAT(Keys(), IsEmpty());
}

TEST_F(S3StoreTest, AServiceThatDoesNotAnswerIsRefused) {
  options.endpoint = "http://127.0.0.1:1";
  options.retry = absl::ZeroDuration();
  const absl::Status opened = TryOpen().status();
  EXPECT_TRUE(absl::IsUnavailable(opened)) << opened;
  EXPECT_THAT(std::string(opened.message()), HasSubstr("store: cannot write s3://videos/store/probe/"));
}

TEST_F(S3StoreTest, WhoeverOpensItLastHasIt) {
  const auto first = Open();
  ASSERT_TRUE(Put(*first, {{"videos/v/one", "1"}}).ok());
  const auto second = Open();
  ASSERT_TRUE(Put(*second, {{"videos/v/two", "2"}}).ok());
  const absl::Status late = Put(*first, {{"videos/v/three", "late"}});
  EXPECT_TRUE(absl::IsAborted(late)) << late;
  EXPECT_THAT(std::string(late.message()), HasSubstr("s3://videos/store/videos/v: another server writes it now"));
  EXPECT_THAT(Names(*second, "videos/v"), ElementsAre("one", "two"));
}

TEST_F(S3StoreTest, NothingStaysOfWhatWasReplacedOrRemoved) {
  const auto store = Open();
  ASSERT_TRUE(Put(*store, {{"videos/v/checkpoint", "1"}}).ok());
  ASSERT_TRUE(Put(*store, {{"videos/v/checkpoint", "2"}}).ok());
  ASSERT_TRUE(Put(*store, {{"videos/v/block", "3"}, {"videos/v/index", "4"}}).ok());
  ASSERT_TRUE(Put(*store, {{"videos/v/index", "5"}}).ok());
  store->AwaitIdle();
  EXPECT_EQ(Keys().size(), 4u) << "the manifest, the second checkpoint, the third and the fourth Put";
  EXPECT_EQ(Bytes(*store, "videos/v/block"), "3");
  ASSERT_TRUE(Remove(*store, "videos/v").ok());
  EXPECT_THAT(Keys(), IsEmpty());
}

TEST_F(S3StoreTest, AnInterruptedRemovalIsFinishedAtTheNextStart) {
  {
    options.retry = absl::ZeroDuration();
    const auto store = Open();
    ASSERT_TRUE(Put(*store, {{"videos/v/one", "1"}}).ok());
    ASSERT_TRUE(Put(*store, {{"videos/w/one", "1"}}).ok());
    s3.SetFaults([](const FakeS3::Request& request) {
      return request.method == "DELETE" && absl::StartsWith(request.key, "store/objects/") ? Fault::kBusy
                                                                                           : Fault::kNone;
    });
    EXPECT_TRUE(absl::IsUnavailable(Remove(*store, "videos/v")));
    EXPECT_THAT(Names(*store, "videos"), ElementsAre("w")) << "it is gone for whoever looks";
    EXPECT_EQ(Keys().size(), 3u);
  }
  s3.SetFaults(nullptr);
  const auto store = Open();
  EXPECT_EQ(Keys().size(), 2u);
  EXPECT_EQ(Bytes(*store, "videos/w/one"), "1");
}

// A folder that another server makes between the two lists of the one that starts.
TEST_F(S3StoreTest, AStartRemovesNothingThatOthersWriteMeanwhile) {
  Open(Sharing::kShared);
  std::atomic<bool> listed = false;
  s3.SetFaults([&](const FakeS3::Request& request) {
    const auto prefix = request.query.find("prefix");
    if (prefix != request.query.end() && prefix->second == "store/objects/" && !listed.exchange(true)) {
      s3.Write("store/folders/videos/v", ToText(Manifest{.writer = {1, 1}, .files = {{"one", {"o-1", 0, 1}}}}));
      s3.Write("store/objects/videos/v/o-1", "1");
      s3.Write("store/objects/videos/w/o-2", "of a video that was removed");
    }
    return Fault::kNone;
  });
  const auto store = Open(Sharing::kShared);
  EXPECT_TRUE(listed);
  EXPECT_EQ(Bytes(*store, "videos/v/one"), "1");
  EXPECT_THAT(Keys(), ElementsAre("store/folders/videos/v", "store/objects/videos/v/o-1"));
}

TEST_F(S3StoreTest, DamageIsAnErrorThatNamesTheObject) {
  const auto store = Open(Sharing::kShared);
  ASSERT_TRUE(Fence(*store, "videos/v", 1).ok());
  ASSERT_TRUE(Put(*store, {{"videos/v/one", "1"}}, 1).ok());
  std::string manifest = s3.objects().at("store/folders/videos/v");
  manifest.replace(manifest.find("one"), 3, "two");
  s3.Write("store/folders/videos/v", manifest);
  const absl::Status damaged = store->Get("videos/v/one").status();
  EXPECT_TRUE(absl::IsDataLoss(damaged)) << damaged;
  EXPECT_THAT(std::string(damaged.message()), HasSubstr("s3://videos/store/folders/videos/v: its bytes have changed"));
}

TEST_F(S3StoreTest, KeysThatHaveEndedAreReadAgain) {
  const TempFolder folder;
  options.credentials = {};
  options.credentials_file =
      folder.Write("keys", "[default]\naws_access_key_id = old\naws_secret_access_key = secret\n");
  const auto store = Open();
  s3.SetFaults([](const FakeS3::Request& request) {
    return absl::StrContains(request.headers.at("authorization"), "Credential=old/") ? Fault::kOldKeys : Fault::kNone;
  });
  const absl::Status old = Put(*store, {{"videos/v/one", "1"}});
  EXPECT_THAT(std::string(old.message()), HasSubstr("403 ExpiredToken"));
  folder.Write("keys", "aws_access_key_id = new\naws_secret_access_key = other\naws_session_token = t\n");
  EXPECT_TRUE(Put(*store, {{"videos/v/one", "1"}}).ok());
  EXPECT_EQ(s3.requests().back().headers.at("x-amz-security-token"), "t");
}

TEST_F(S3StoreTest, OptionsThatAreWrongAreNamed) {
  const TempFolder folder;
  const auto wrong = [&](const std::string& url, const S3Options& given) {
    const absl::Status status = CheckS3Options(url, given);
    EXPECT_FALSE(status.ok());
    EXPECT_EQ(OpenS3Store(url, Sharing::kAlone, given, &logger).status(), status);
    return std::string(status.message());
  };
  EXPECT_TRUE(CheckS3Options("s3://videos/store", options).ok());
  EXPECT_TRUE(CheckS3Options("s3://videos", options).ok());
  EXPECT_THAT(wrong("s3://", options), HasSubstr("store: \"\" is no name of a bucket"));
  EXPECT_THAT(wrong("s3://Videos/store", options), HasSubstr("\"Videos\" is no name of a bucket"));
  EXPECT_THAT(wrong("s3://videos/a b", options), HasSubstr("store: \"a b\""));
  for (const char* endpoint :
       {"127.0.0.1:9000", "ftp://host", "http://host/path", "http://user:word@host", "http://"}) {
    S3Options given = options;
    given.endpoint = endpoint;
    EXPECT_THAT(wrong("s3://videos/store", given), HasSubstr("store-endpoint: is not of the form")) << endpoint;
  }
  S3Options given = options;
  given.region = "us east";
  EXPECT_THAT(wrong("s3://videos/store", given), HasSubstr("store-region: "));
  given = options;
  given.credentials = {};
  EXPECT_THAT(wrong("s3://videos/store", given), HasSubstr("store: a bucket needs keys: AWS_ACCESS_KEY_ID"));
  given.credentials_file = folder.path() + "/none";
  EXPECT_THAT(wrong("s3://videos/store", given), HasSubstr("store-credentials-file: "));
  given.credentials_file = folder.Write("keys", "aws_access_key_id = only\n");
  EXPECT_THAT(wrong("s3://videos/store", given), HasSubstr("keys: aws_secret_access_key is missing"));
}

}  // namespace
}  // namespace longtake::server
