// Viewing links without a server: what they hold for, and with which keys.
#include "server/access/viewing_links.h"

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <memory>
#include <sstream>
#include <string>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/video/error.h"
#include "spdlog/sinks/ostream_sink.h"
#include "tests/server/fake_clock.h"

namespace longtake::server {
namespace {

using testing::HasSubstr;
using testing::Not;

// The first moment has a fraction, as moments have.
const absl::Time kNow = absl::FromUnixMillis(1'800'000'000'250);
const Tenant kAcme{"acme"};
constexpr char kVideo[] = "videos/one";

std::string Key(char digit) { return std::string(64, digit); }

class ViewingLinksTest : public testing::Test {
 protected:
  void TearDown() override { std::remove(path.c_str()); }
  // Also makes the next look see it, whatever the file system's clock says: it is another file.
  void WriteKeys(const std::string& text) {
    std::ofstream(path + ".new", std::ios::binary) << text;
    std::filesystem::rename(path + ".new", path);
    clock.Advance(absl::Seconds(2));
  }
  absl::StatusOr<std::unique_ptr<ViewingLinks>> Open(const LinkOptions& options, bool asks_callers = true) {
    return ViewingLinks::Open(options, asks_callers, &clock, &logger, [this] { return now; });
  }
  void OpenWith(const std::string& keys) {
    WriteKeys(keys);
    auto opened = Open({.keys = path});
    ASSERT_TRUE(opened.ok()) << opened.status();
    links = *std::move(opened);
  }
  std::string Make(absl::Duration duration = absl::Hours(1), const Tenant& tenant = kAcme) {
    const auto link = links->Make(tenant, kVideo, duration);
    EXPECT_TRUE(link.ok()) << link.status();
    return link.ok() ? link->text : "";
  }
  // The tenant, or the reason why there is none.
  std::string Verify(const std::string& link, const std::string& video = kVideo) const {
    const absl::StatusOr<ViewingGrant> grant = links->Verify(video, link);
    return grant.ok() ? grant->tenant.id : NameOf(DetailsOf(grant.status()).reason);
  }
  std::string WhyNot(const std::string& keys) {
    WriteKeys(keys);
    return std::string(Open({.keys = path}).status().message());
  }

  const std::string path = absl::StrCat(testing::TempDir(), "/link_keys_", getpid());
  FakeClock clock;
  absl::Time now = kNow;
  std::ostringstream log;
  spdlog::logger logger{"test", std::make_shared<spdlog::sinks::ostream_sink_mt>(log)};
  std::unique_ptr<ViewingLinks> links;
};

TEST_F(ViewingLinksTest, ALinkHoldsForItsVideoUntilItExpires) {
  OpenWith(Key('a'));
  const auto link = links->Make(kAcme, kVideo, absl::Seconds(1));
  ASSERT_TRUE(link.ok());
  EXPECT_THAT(link->text, testing::MatchesRegex("[A-Za-z0-9_-]+"));
  EXPECT_GE(link->expires, kNow + absl::Seconds(1));
  EXPECT_EQ(Verify(link->text), "acme");
  EXPECT_EQ(Verify(link->text, "videos/two"), "UNAUTHENTICATED");
  now = kNow + absl::Seconds(1);
  EXPECT_EQ(Verify(link->text), "acme");
  now = link->expires - absl::Nanoseconds(1);
  EXPECT_EQ(Verify(link->text), "acme");
  now = link->expires;
  EXPECT_EQ(Verify(link->text), "LINK_EXPIRED");
  EXPECT_EQ(Verify(link->text, "videos/two"), "UNAUTHENTICATED") << "of a link to another video not even that is said";
}

TEST_F(ViewingLinksTest, TenantsOfAnyNameAreKept) {
  OpenWith(Key('a'));
  for (const std::string& tenant :
       {std::string(), std::string("a/b?c=d&e"), std::string("\xc3\xa9t\xc3\xa9"), std::string(128, 'x')}) {
    EXPECT_EQ(Verify(Make(absl::Hours(1), {tenant})), tenant);
  }
}

TEST_F(ViewingLinksTest, WhatIsChangedIsNoLink) {
  OpenWith(Key('a'));
  for (const char* tenant :
       {"acme", "acme2", "acme23"}) {  // of each number of bytes modulo 3, which base64 ends differently
    const std::string link = Make(absl::Hours(1), {tenant});
    ASSERT_EQ(Verify(link), tenant);
    for (size_t i = 0; i < link.size(); ++i) {
      EXPECT_EQ(Verify(link.substr(0, i)), "UNAUTHENTICATED") << i;
      for (const char other : std::string("ABwxyz019-_.=/+ \n\0", 18)) {
        std::string changed = link;
        changed[i] = other;
        EXPECT_EQ(Verify(changed), changed == link ? tenant : "UNAUTHENTICATED") << i << " " << other;
      }
    }
    for (const char* more : {"A", "AA", "AAAA", "=", "==", "."})
      EXPECT_EQ(Verify(link + more), "UNAUTHENTICATED") << more;
  }
}

TEST_F(ViewingLinksTest, WhereTheTenantEndsAndTheVideoBeginsIsSigned) {
  OpenWith(Key('a'));
  const std::string link = Make();
  std::string bytes;
  ASSERT_TRUE(absl::WebSafeBase64Unescape(link, &bytes));
  // The same bytes one after the other, if the tenant's length were not signed.
  EXPECT_EQ(Verify(absl::WebSafeBase64Escape(bytes.substr(0, bytes.size() - 1)), absl::StrCat("e", kVideo)),
            "UNAUTHENTICATED");
}

TEST_F(ViewingLinksTest, TheFirstKeySignsAndAllVerify) {
  OpenWith(absl::StrCat("# old\n", Key('a'), "\n"));
  const std::string old_link = Make();
  WriteKeys(absl::StrCat(Key('b'), "  # new\r\n", Key('a'), "\n"));
  EXPECT_EQ(Verify(old_link), "acme");
  const std::string new_link = Make();
  EXPECT_EQ(Verify(new_link), "acme");
  WriteKeys(Key('b'));
  EXPECT_EQ(Verify(old_link), "UNAUTHENTICATED");
  EXPECT_EQ(Verify(new_link), "acme");
  // Another server with the same file.
  const auto other = Open({.keys = path});
  ASSERT_TRUE(other.ok());
  EXPECT_TRUE((*other)->Verify(kVideo, new_link).ok());
}

TEST_F(ViewingLinksTest, AWrongFileIsNamedAndNotQuoted) {
  EXPECT_EQ(WhyNot(""), path + ": has no key");
  EXPECT_EQ(WhyNot("# nothing\n\n"), path + ": has no key");
  EXPECT_THAT(WhyNot(Key('a') + "\n" + std::string(62, 'c')), HasSubstr(": line 2: the key is shorter than 32 bytes"));
  EXPECT_THAT(WhyNot(Key('a') + "c"), HasSubstr(": line 1: is no key in hexadecimal digits"));
  EXPECT_THAT(WhyNot("a secret that is long enough to be taken for a key of 32 bytes!!"),
              testing::AllOf(HasSubstr(": line 1: is no key"), Not(HasSubstr("secret"))));
  EXPECT_THAT(WhyNot(Key('a') + "\n" + std::string(64, 'A')), HasSubstr(": line 2: the key is that of a line before"));
  EXPECT_THAT(std::string(Open({.keys = path + ".none"}).status().message()),
              HasSubstr(path + ".none: cannot be read"));

  OpenWith(Key('a'));
  const std::string link = Make();
  WriteKeys("too short");
  EXPECT_EQ(Verify(link), "acme") << "what the file said before stays in force";
  EXPECT_THAT(log.str(), HasSubstr("line 1: is no key"));
}

TEST_F(ViewingLinksTest, LinksAreMadeWhereTheyProtectSomething) {
  WriteKeys(Key('a'));
  EXPECT_THAT(std::string(Open({.keys = path}, /*asks_callers=*/false).status().message()),
              HasSubstr("link-keys: needs tokens"));
  for (const bool asks_callers : {false, true}) {
    const auto without = Open({}, asks_callers);
    ASSERT_TRUE(without.ok());
    const absl::Status why = (*without)->Make(kAcme, kVideo, absl::Hours(1)).status();
    EXPECT_EQ(DetailsOf(why).reason, Reason::kLinksUnavailable);
    EXPECT_EQ(why.code(), absl::StatusCode::kFailedPrecondition);
    EXPECT_THAT(std::string(why.message()), HasSubstr(asks_callers ? "--link-keys" : "not needed"));
    EXPECT_EQ(DetailsOf((*without)->Verify(kVideo, "AAAA").status()).reason, Reason::kUnauthenticated);
  }
}

TEST_F(ViewingLinksTest, TheDurationHasLimits) {
  OpenWith(Key('a'));
  EXPECT_EQ(links->Make(kAcme, kVideo, {})->expires, absl::FromUnixSeconds(1'800'000'001) + absl::Hours(24));
  for (const absl::Duration wrong : {absl::ZeroDuration(), absl::Milliseconds(999), -absl::Seconds(5),
                                     absl::Hours(7 * 24) + absl::Seconds(1), absl::InfiniteDuration()}) {
    const absl::Status status = links->Make(kAcme, kVideo, wrong).status();
    ASSERT_EQ(DetailsOf(status).reason, Reason::kInvalidRequest) << wrong;
    EXPECT_EQ(DetailsOf(status).fields[0].field, "duration");
  }
  const auto strict = Open({.keys = path, .longest = absl::Minutes(5)});
  ASSERT_TRUE(strict.ok());
  EXPECT_EQ((*strict)->Make(kAcme, kVideo, {})->expires, absl::FromUnixSeconds(1'800'000'301));
  EXPECT_FALSE((*strict)->Make(kAcme, kVideo, absl::Minutes(6)).ok());
  EXPECT_THAT(std::string(Open({.keys = path, .longest = absl::ZeroDuration()}).status().message()),
              HasSubstr("link-max-seconds"));
}

TEST_F(ViewingLinksTest, TheLogSaysThatALinkWasUsedAndNotWhich) {
  logger.set_level(spdlog::level::trace);
  OpenWith(Key('a'));
  const std::string link = Make();
  Verify(link);
  Verify(link + "A");
  links->OnUsed(kVideo);
  EXPECT_THAT(log.str(), testing::AllOf(HasSubstr("viewing link made name=videos/one"),
                                        HasSubstr("viewing link used name=videos/one"),
                                        Not(HasSubstr(link.substr(0, 24))), Not(HasSubstr(Key('a').substr(0, 16)))));
}

}  // namespace
}  // namespace longtake::server
