// Parts of a store in S3: addresses, signatures, answers, the order of jobs.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <latch>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/civil_time.h"
#include "common/mutex.h"
#include "server/store/s3/address.h"
#include "server/store/s3/answers.h"
#include "server/store/s3/credentials.h"
#include "server/store/s3/manifest.h"
#include "server/store/s3/ordered_jobs.h"
#include "server/store/s3/signature.h"

namespace longtake::server {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::EndsWith;
using testing::HasSubstr;
using testing::IsEmpty;

// The examples that Amazon publishes for S3, with the keys that it publishes for them ("Signature Calculations for the
// Authorization Header").
class SignatureTest : public testing::Test {
 protected:
  // The signature of a request to "examplebucket".
  static std::string Sign(AwsRequest request, const std::string& body = "") {
    request.host = "examplebucket.s3.amazonaws.com";
    request.body_sha256 = Sha256(body);
    const absl::Time time = absl::FromCivil(absl::CivilSecond(2013, 5, 24), absl::UTCTimeZone());
    const std::vector<std::string> headers =
        SignedHeaders(request, {"AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"}, "us-east-1", time);
    EXPECT_THAT(headers, Contains("x-amz-date: 20130524T000000Z"));
    const std::string& authorization = headers.back();
    EXPECT_THAT(authorization,
                HasSubstr("authorization: AWS4-HMAC-SHA256 "
                          "Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request,SignedHeaders="));
    return authorization.substr(authorization.rfind('=') + 1);
  }
};

TEST_F(SignatureTest, OfAnObjectThatIsRead) {
  EXPECT_EQ(Sign({.method = "GET", .path = "/test.txt", .headers = {{"range", "bytes=0-9"}}}),
            "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41");
}

TEST_F(SignatureTest, OfAnObjectThatIsWritten) {
  EXPECT_EQ(
      Sign({.method = "PUT",
            .path = "/test%24file.text",
            .headers = {{"date", "Fri, 24 May 2013 00:00:00 GMT"}, {"x-amz-storage-class", "REDUCED_REDUNDANCY"}}},
           "Welcome to Amazon S3."),
      "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd");
}

TEST_F(SignatureTest, OfAQueryWithoutValues) {
  EXPECT_EQ(Sign({.method = "GET", .path = "/", .query = {{"lifecycle", ""}}}),
            "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543");
}

TEST_F(SignatureTest, OfAList) {
  EXPECT_EQ(Sign({.method = "GET", .path = "/", .query = {{"prefix", "J"}, {"max-keys", "2"}}}),
            "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7");
}

TEST_F(SignatureTest, HasTheTokenOfKeysThatEnd) {
  const std::vector<std::string> headers =
      SignedHeaders({.method = "GET", .host = "h", .path = "/"}, {"id", "secret", "token"}, "r", absl::UnixEpoch());
  EXPECT_THAT(headers, Contains("x-amz-security-token: token"));
  EXPECT_THAT(headers.back(), HasSubstr("SignedHeaders=host;x-amz-content-sha256;x-amz-date;x-amz-security-token,"));
}

TEST(Query, IsSortedAndEncoded) {
  EXPECT_EQ(EncodedQuery({{"prefix", "a/b c~"}, {"continuation-token", "1+/="}, {"delimiter", "/"}}),
            "continuation-token=1%2B%2F%3D&delimiter=%2F&prefix=a%2Fb%20c~");
}

TEST(Address, HasTheBucketInTheHostOrInThePath) {
  const auto url = [](const char* store, const char* endpoint, const char* region) {
    const absl::StatusOr<S3Address> address = ParseS3Address(store, endpoint, region);
    EXPECT_TRUE(address.ok()) << address.status();
    return absl::StrCat(address->scheme, "://", address->host, address->path, address->prefix);
  };
  EXPECT_EQ(url("s3://videos/a/b", "", "eu-west-1"), "https://videos.s3.eu-west-1.amazonaws.com/a/b");
  EXPECT_EQ(url("s3://videos/", "", "cn-north-1"), "https://videos.s3.cn-north-1.amazonaws.com.cn/");
  EXPECT_EQ(url("s3://my.videos/a", "", "eu-west-1"), "https://s3.eu-west-1.amazonaws.com/my.videos/a");
  EXPECT_EQ(url("s3://videos/a/", "http://minio:9000/", "us-east-1"), "http://minio:9000/videos/a");
  EXPECT_EQ(url("s3://videos/a", "https://[::1]:443", "us-east-1"), "https://[::1]/videos/a");
  EXPECT_EQ(url("s3://videos/a", "http://s3.example:80", "us-east-1"), "http://s3.example/videos/a");
}

TEST(Credentials, AreThoseOfTheDefaultSection) {
  const absl::StatusOr<AwsCredentials> read = ParseCredentials(
      "# keys\n[other]\naws_access_key_id = no\n[default]\n aws_access_key_id=id \r\naws_secret_access_key = s=/+\n"
      "region = eu-west-1\n[more]\naws_session_token = no\n");
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(*read, (AwsCredentials{"id", "s=/+", ""}));
  EXPECT_THAT(std::string(ParseCredentials("[other]\naws_access_key_id = a\n").status().message()),
              HasSubstr("aws_access_key_id is missing"));
  EXPECT_FALSE(ParseCredentials("aws_access_key_id = a\rb\naws_secret_access_key = s").ok());
}

TEST(Answers, AListHasItsKeysAndWhereItGoesOn) {
  const absl::StatusOr<ListedPage> page = ParseListing(
      "<?xml version=\"1.0\"?><ListBucketResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Name>b</Name>"
      "<Prefix>p</Prefix><IsTruncated>true</IsTruncated><Contents><Key>p/1</Key><Size>3</Size></Contents><Contents>"
      "<Key>p/2&amp;</Key></Contents><CommonPrefixes><Prefix>p/d/</Prefix></CommonPrefixes>"
      "<NextContinuationToken>t==</NextContinuationToken></ListBucketResult>");
  ASSERT_TRUE(page.ok()) << page.status();
  EXPECT_THAT(page->keys, ElementsAre("p/1", "p/2&"));
  EXPECT_THAT(page->prefixes, ElementsAre("p/d/"));
  EXPECT_EQ(page->next, "t==");
  for (const char* wrong : {"", "<html></html>", "<ListBucketResult>",
                            "<ListBucketResult><IsTruncated>true</IsTruncated></ListBucketResult>"}) {
    EXPECT_TRUE(absl::IsDataLoss(ParseListing(wrong).status())) << wrong;
  }
}

TEST(Answers, AnErrorHasACode) {
  const S3Error error = ParseError("<Error><Code>NoSuchKey</Code><Message>It is not there</Message></Error>");
  EXPECT_EQ(error.code, "NoSuchKey");
  EXPECT_EQ(error.message, "It is not there");
  EXPECT_EQ(ParseError("<html><Code>NoSuchKey</Code></html>").code, "");
  EXPECT_TRUE(IsTransient(503, "SlowDown"));
  EXPECT_TRUE(IsTransient(409, "ConditionalRequestConflict"));
  EXPECT_TRUE(IsTransient(502, ""));
  EXPECT_FALSE(IsTransient(403, "AccessDenied"));
  EXPECT_FALSE(IsTransient(412, "PreconditionFailed"));
}

TEST(Manifests, AreReadAsTheyWereWritten) {
  const Manifest manifest{.writer = {3, 1'700'000'000'000'000},
                          .revision = NewRevision(),
                          .files = {{"a", {"object-1", 0, 7}}, {"b", {"object-1", 7, 1}}, {"empty", {"", 8, 0}}}};
  const std::string text = ToText(manifest);
  const absl::StatusOr<Manifest> read = ParseManifest(text);
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(read->writer, manifest.writer);
  EXPECT_EQ(read->revision, manifest.revision);
  EXPECT_EQ(read->files, manifest.files);
  EXPECT_NE(NewRevision(), manifest.revision);
  for (size_t i = 0; i < text.size(); ++i) {
    std::string damaged = text;
    damaged[i] ^= 1;
    EXPECT_TRUE(absl::IsDataLoss(ParseManifest(damaged).status())) << damaged;
  }
}

// Jobs about one folder, or about one in the other, wait for each other; all others run at once: each of the three at
// the latch waits until the others are there too.
TEST(OrderedJobs, WaitForThoseAboutTheSamePathAlone) {
  OrderedJobs jobs;
  ASSERT_TRUE(jobs.Start(4).ok());
  Mutex mutex;
  std::vector<std::string> done;
  const auto post = [&](const char* path, const char* name, std::latch* together) {
    jobs.Post(path, [&, name, together] {
      if (together != nullptr) together->arrive_and_wait();
      const MutexLock lock(mutex);
      done.emplace_back(name);
    });
  };
  std::latch together(3);
  post("videos/a", "a1", &together);
  post("videos/a/file", "a2", nullptr);
  post("videos/b", "b1", &together);
  post("videos/ab", "ab1", &together);
  post("videos", "all", nullptr);
  post("videos/a", "a3", nullptr);
  jobs.AwaitIdle();
  ASSERT_EQ(done.size(), 6u);
  EXPECT_THAT(std::vector<std::string>(done.begin() + 4, done.end()), ElementsAre("all", "a3"));
  EXPECT_LT(std::find(done.begin(), done.end(), "a1"), std::find(done.begin(), done.end(), "a2"));
}

}  // namespace
}  // namespace longtake::server
