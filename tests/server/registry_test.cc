// Leases and tokens, with a real Redis.
#include "server/store/registry.h"

#include <algorithm>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/store/redis.h"
#include "spdlog/logger.h"
#include "spdlog/sinks/null_sink.h"
#include "tests/engine/temp_folder.h"
#include "tests/server/redis_server.h"

namespace longtake::server {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

class RegistryTest : public testing::Test {
 protected:
  std::unique_ptr<Registry> Open(const std::string& address, absl::Duration lease = absl::Minutes(10)) {
    absl::StatusOr<std::unique_ptr<Registry>> opened = OpenRedisRegistry(
        {.url = redis.url(), .password_file = "", .address = address, .http_address = "h" + address, .lease = lease},
        &logger);
    EXPECT_TRUE(opened.ok()) << opened.status();
    return *std::move(opened);
  }
  static uint64_t Take(Registry& registry, const std::string& video) {
    const absl::StatusOr<uint64_t> token = registry.Take(video, "tenant");
    EXPECT_TRUE(token.ok()) << token.status();
    return token.value_or(0);
  }

  spdlog::logger logger{"test", std::make_shared<spdlog::sinks::null_sink_mt>()};
  RedisServer redis;
};

TEST_F(RegistryTest, AVideoHasOneOwner) {
  const auto a = Open("a:1"), b = Open("b:1");
  EXPECT_EQ(a->OwnerOf("videos/v")->has_value(), false);
  const uint64_t token = Take(*a, "videos/v");
  EXPECT_TRUE(absl::IsFailedPrecondition(b->Take("videos/v", "tenant").status()));
  EXPECT_EQ((*b->OwnerOf("videos/v"))->address, "a:1");
  EXPECT_EQ((*b->OwnerOf("videos/v"))->http_address, "ha:1");
  EXPECT_FALSE((*b->OwnerOf("videos/v"))->self);
  EXPECT_TRUE((*a->OwnerOf("videos/v"))->self);
  EXPECT_TRUE(*a->Keep("tenant", "videos/v", token));
  EXPECT_FALSE(*b->Keep("tenant", "videos/v", token));
  EXPECT_THAT(*b->Orphans(), ElementsAre());
  EXPECT_TRUE(a->has_others());
}

TEST_F(RegistryTest, WhatAServerLeavesIsTakenWithALargerToken) {
  const auto a = Open("a:1"), b = Open("b:1");
  const uint64_t ended = Take(*a, "videos/ended"), left = Take(*a, "videos/left"), lost = Take(*a, "videos/lost");
  a->Release("videos/ended", ended, Registry::Left::kEnded);
  a->Release("videos/left", left, Registry::Left::kUnfinished);
  EXPECT_THAT(*b->Orphans(), ElementsAre("videos/left"));
  EXPECT_GT(Take(*b, "videos/left"), left);
  redis.EndLeases();
  // b's lease has ended too, but it takes what it finds.
  EXPECT_THAT(*b->Orphans(), testing::UnorderedElementsAre("videos/left", "videos/lost"));
  const uint64_t taken = Take(*b, "videos/lost");
  EXPECT_GT(taken, lost);
  EXPECT_FALSE(*a->Keep("tenant", "videos/lost", lost));
  // The former owner's word counts no longer.
  a->Release("videos/lost", lost, Registry::Left::kEnded);
  EXPECT_TRUE(*b->Keep("tenant", "videos/lost", taken));
}

TEST_F(RegistryTest, ARedisThatHasForgottenEverythingIsToldAgain) {
  const auto a = Open("a:1"), b = Open("b:1");
  const uint64_t kept = Take(*a, "videos/kept"), taken = Take(*a, "videos/taken");
  redis.Ask({"FLUSHALL"});
  EXPECT_GT(Take(*b, "videos/taken"), taken) << "tokens grow all the same";
  EXPECT_FALSE(*a->Keep("tenant", "videos/taken", taken));
  EXPECT_TRUE(*a->Keep("tenant", "videos/kept", kept));
  EXPECT_TRUE(*a->Keep("tenant", "videos/kept", kept));
  // It is among the unfinished ones again, for the time behind this server.
  redis.EndLeases();
  EXPECT_THAT(*b->Orphans(), testing::UnorderedElementsAre("videos/kept", "videos/taken"));
}

TEST_F(RegistryTest, WhatIsNotStoredStaysItsServers) {
  auto a = Open("a:1");
  const auto b = Open("b:1");
  const uint64_t token = Take(*a, "videos/v");
  EXPECT_TRUE(a->counters().CountVideo("tenant", "videos/v", 1, /*hour=*/1000)->counted);
  a->Release("videos/v", token, Registry::Left::kEndedUnstored);
  ASSERT_TRUE(b->OwnerOf("videos/v")->has_value());
  EXPECT_EQ((*b->OwnerOf("videos/v"))->address, "a:1");
  EXPECT_EQ((*b->OwnerOf("videos/v"))->tenant, "tenant");
  EXPECT_EQ(redis.Ask({"SCARD", "longtake:making:tenant"}).number, 0) << "it is made no longer";
  EXPECT_THAT(*b->Orphans(), ElementsAre());
  EXPECT_TRUE(absl::IsFailedPrecondition(b->Take("videos/v", std::nullopt).status()));
  a.reset();
  EXPECT_THAT(*b->Orphans(), ElementsAre("videos/v"));
  EXPECT_TRUE(b->Take("videos/v", std::nullopt).ok());
  EXPECT_EQ((*b->OwnerOf("videos/v"))->tenant, "tenant");
}

TEST_F(RegistryTest, ServersThatEndGiveTheirVideosBackAtOnce) {
  const auto b = Open("b:1");
  {
    const auto a = Open("a:1");
    Take(*a, "videos/v");
    EXPECT_THAT(*b->Orphans(), ElementsAre());
  }
  EXPECT_THAT(*b->Orphans(), ElementsAre("videos/v"));
  EXPECT_FALSE(b->has_others());
}

TEST_F(RegistryTest, OneServerLeadsAsLongAsItWorks) {
  auto a = Open("a:1");
  const auto b = Open("b:1");
  EXPECT_TRUE(*a->Leads());
  EXPECT_FALSE(*b->Leads());
  EXPECT_TRUE(*a->Leads());
  a.reset();
  EXPECT_TRUE(*b->Leads());
  const auto c = Open("c:1");
  EXPECT_FALSE(*c->Leads());
  redis.EndLeases();
  EXPECT_TRUE(*c->Leads()) << "b is taken for dead";
  redis.Kill();
  EXPECT_FALSE(c->Leads().ok());
}

TEST_F(RegistryTest, ALeaseThatHadEndedIsNoticed) {
  const auto a = Open("a:1", absl::Milliseconds(300));
  EXPECT_EQ(a->lapses(), 0u);
  for (uint64_t lapses = 1; lapses <= 2; ++lapses) {
    redis.EndLeases();
    for (int i = 0; i < 120'000 && a->lapses() < lapses; ++i) absl::SleepFor(absl::Milliseconds(1));
    EXPECT_GE(a->lapses(), lapses);
  }
}

TEST_F(RegistryTest, ARequestIdIsOneTenantsAndOfOneVideo) {
  const auto a = Open("a:1"), b = Open("b:1");
  EXPECT_EQ(*a->ClaimRequest("tenant", "id", "videos/1"), "videos/1");
  EXPECT_EQ(*b->ClaimRequest("tenant", "id", "videos/2"), "videos/1");
  EXPECT_EQ(*b->ClaimRequest("other", "id", "videos/3"), "videos/3");
  // Where one name ends and the other begins makes a difference.
  EXPECT_EQ(*b->ClaimRequest("tenant:i", "d", "videos/4"), "videos/4");
  EXPECT_EQ(*b->FindRequest("tenant", "id"), "videos/1");
  EXPECT_EQ(*b->FindRequest("tenant", "another"), "");
  b->ForgetRequest("tenant", "id", "videos/2");  // has never been its video
  EXPECT_EQ(*b->FindRequest("tenant", "id"), "videos/1");
  a->ForgetRequest("tenant", "id", "videos/1");
  EXPECT_EQ(*b->ClaimRequest("tenant", "id", "videos/5"), "videos/5");
}

TEST_F(RegistryTest, AVideoCountsOnceUntilItHasEnded) {
  const auto a = Open("a:1"), b = Open("b:1");
  const auto counts = [](Registry& at, const std::string& video, std::optional<int64_t> most) {
    const auto counted = at.counters().CountVideo("tenant", video, most, /*hour=*/1000);
    EXPECT_TRUE(counted.ok()) << counted.status();
    return counted.ok() && counted->counted;
  };
  const auto made = [this] { return redis.Ask({"SCARD", "longtake:making:tenant"}).number; };
  const uint64_t first = Take(*a, "videos/1"), second = Take(*b, "videos/2");
  EXPECT_TRUE(counts(*a, "videos/1", 2));
  EXPECT_TRUE(counts(*b, "videos/2", 2));
  EXPECT_FALSE(counts(*a, "videos/3", 2));
  EXPECT_TRUE(counts(*a, "videos/1", 2)) << "it is one of them already";
  EXPECT_TRUE(counts(*a, "videos/over", std::nullopt)) << "no limit";
  EXPECT_EQ(made(), 3);
  // Handed over, and taken from a server that is gone: still the same video.
  a->Release("videos/1", first, Registry::Left::kUnfinished);
  EXPECT_EQ(made(), 3);
  const uint64_t next = Take(*b, "videos/1");
  EXPECT_TRUE(counts(*b, "videos/1", std::nullopt));
  EXPECT_EQ(made(), 3);
  a->Release("videos/1", first, Registry::Left::kEnded);
  EXPECT_EQ(made(), 3) << "the former owner's word counts no longer";
  b->Release("videos/1", next, Registry::Left::kEnded);
  b->Release("videos/2", second, Registry::Left::kEnded);
  EXPECT_EQ(made(), 1);
  EXPECT_TRUE(counts(*a, "videos/4", 2));
}

TEST_F(RegistryTest, VideosCountAgainWhereRedisHasForgottenThem) {
  const auto a = Open("a:1");
  const uint64_t token = Take(*a, "videos/1");
  EXPECT_TRUE(a->counters().CountVideo("tenant", "videos/1", 1, /*hour=*/1000)->counted);
  redis.Ask({"FLUSHALL"});
  EXPECT_TRUE(*a->Keep("tenant", "videos/1", token));
  EXPECT_FALSE(a->counters().CountVideo("tenant", "videos/2", 1, /*hour=*/1000)->counted);
  a->Release("videos/1", token, Registry::Left::kEnded);
  EXPECT_TRUE(a->counters().CountVideo("tenant", "videos/2", 1, /*hour=*/1000)->counted);
}

TEST_F(RegistryTest, WhatEndsWhileRedisIsAwayIsToldLater) {
  const auto a = Open("a:1", absl::Milliseconds(300));
  const uint64_t token = Take(*a, "videos/1");
  EXPECT_TRUE(a->counters().CountVideo("tenant", "videos/1", 1, /*hour=*/1000)->counted);
  redis.Ask({"CONFIG", "SET", "requirepass", "x"});  // Redis is there and answers nothing
  redis.CutClients("x");
  a->Release("videos/1", token, Registry::Left::kEnded);
  redis.Ask({"CONFIG", "SET", "requirepass", ""}, "x");
  for (int i = 0; i < 120'000 && redis.Ask({"SCARD", "longtake:making:tenant"}).number > 0; ++i) {
    absl::SleepFor(absl::Milliseconds(1));
  }
  EXPECT_EQ(redis.Ask({"SCARD", "longtake:making:tenant"}).number, 0);
  EXPECT_EQ(redis.Ask({"SCARD", "longtake:unfinished"}).number, 0);
}

TEST_F(RegistryTest, DeviceSecondsOfAllServersAreAdded) {
  const auto a = Open("a:1"), b = Open("b:1");
  const auto used = [&](int64_t hour) {
    const auto counted = a->counters().CountVideo("tenant", "videos/1", 0, hour);
    EXPECT_TRUE(counted.ok()) << counted.status();
    std::vector<double> seconds = counted.ok() ? counted->device_seconds : std::vector<double>();
    EXPECT_EQ(seconds.size(), 24u);
    seconds.erase(seconds.begin(), std::find_if(seconds.begin(), seconds.end(), [](double each) { return each > 0; }));
    return seconds;
  };
  EXPECT_THAT(used(1000), ElementsAre());
  EXPECT_TRUE(a->counters().SetUsed({{"tenant", 1000, 1.5}, {"other", 1000, 100}}).ok());
  EXPECT_TRUE(b->counters().SetUsed({{"tenant", 1000, 2}, {"tenant", 999, 0.25}}).ok());
  EXPECT_THAT(used(1000), ElementsAre(0.25, 3.5));
  EXPECT_TRUE(a->counters().SetUsed({{"tenant", 1000, 1.75}}).ok());
  EXPECT_TRUE(a->counters().SetUsed({{"tenant", 1000, 1.75}}).ok());  // told twice, and counted once
  EXPECT_THAT(used(1001), ElementsAre(0.25, 3.75, 0));
  EXPECT_EQ(used(1000 + 23).front(), 3.75);
  EXPECT_THAT(used(1000 + 24), ElementsAre());
  EXPECT_GT(redis.Ask({"TTL", "longtake:used:1000:tenant"}).number, 24 * 3600);
}

TEST_F(RegistryTest, CallsOfAllServersAreAdded) {
  const auto a = Open("a:1"), b = Open("b:1");
  EXPECT_THAT(*a->counters().AddCalls({{"tenant", 3}, {"other", 1}}), ElementsAre(3, 1));
  EXPECT_THAT(*b->counters().AddCalls({{"other", 0}, {"tenant", 2}, {"new", 0}}), ElementsAre(1, 5, 0));
  EXPECT_THAT(*b->counters().AddCalls({}), ElementsAre());
  EXPECT_GT(redis.Ask({"TTL", "longtake:calls:tenant"}).number, 60) << "longer than servers listen";
  redis.Kill();
  EXPECT_TRUE(absl::IsUnavailable(b->counters().AddCalls({{"tenant", 1}}).status()));
}

TEST_F(RegistryTest, VideosAreListedByTheirCreation) {
  const auto a = Open("a:1"), b = Open("b:1");
  const absl::Time start = absl::FromUnixSeconds(1'700'000'000);
  // Seven of one microsecond among others, so that pages begin and end within it.
  for (int i = 0; i < 20; ++i) {
    const int micros = i < 5 ? i : i < 12 ? 5 : i;
    (i % 2 == 0 ? a : b)->AddVideo("tenant", absl::StrCat("videos/", 100 + i), start + absl::Microseconds(micros));
  }
  b->AddVideo("other", "videos/other", start);
  a->RemoveVideo("tenant", "videos/107");
  std::vector<std::string> expected;
  for (int i = 19; i >= 0; --i) {
    if (i != 7) expected.push_back(absl::StrCat("videos/", 100 + i));
  }
  for (const int size : {1, 2, 3, 5, 50}) {
    std::vector<std::string> found;
    std::optional<Registry::Listed> behind;
    while (true) {
      const auto page = b->ListVideos("tenant", behind, size);
      ASSERT_TRUE(page.ok()) << page.status();
      if (page->empty()) break;
      for (const Registry::Listed& each : *page) found.push_back(each.video);
      behind = page->back();
    }
    EXPECT_EQ(found, expected) << "in pages of " << size;
  }
}

TEST_F(RegistryTest, UnfinishedVideosOfTheStoreAreTaken) {
  const auto a = Open("a:1");
  a->AddUnfinished("videos/found");
  EXPECT_THAT(*a->Orphans(), ElementsAre("videos/found"));
  Take(*a, "videos/found");
  EXPECT_THAT(*a->Orphans(), ElementsAre());
}

TEST_F(RegistryTest, ARedisThatGoesAndComesBackIsAnErrorMeanwhile) {
  const auto a = Open("a:1");
  redis.Kill();
  const absl::Status gone = a->Take("videos/v", "tenant").status();
  EXPECT_TRUE(absl::IsUnavailable(gone)) << gone;
  EXPECT_THAT(std::string(gone.message()), HasSubstr("registry: Redis at 127.0.0.1:"));
  redis.Start();
  for (int i = 0; i < 120'000 && !a->Take("videos/v", "tenant").ok(); ++i) absl::SleepFor(absl::Milliseconds(1));
  EXPECT_TRUE(a->Take("videos/v", "tenant").ok());
}

TEST_F(RegistryTest, WhatIsWrongIsNamed) {
  EXPECT_TRUE(absl::IsInvalidArgument(ParseRedisUrl("localhost:6379").status()));
  EXPECT_TRUE(absl::IsInvalidArgument(ParseRedisUrl("redis://").status()));
  EXPECT_TRUE(absl::IsInvalidArgument(ParseRedisUrl("redis://host:0").status()));
  EXPECT_TRUE(absl::IsInvalidArgument(ParseRedisUrl("redis://user@host").status()));
  EXPECT_EQ(ParseRedisUrl("redis://host")->port, 6379);
  EXPECT_EQ(ParseRedisUrl("redis://[::1]:7000")->port, 7000);
  const TempFolder folder;
  RegistryOptions options{
      .url = redis.url(), .password_file = folder.path() + "/none", .address = "a:1", .http_address = ""};
  EXPECT_THAT(std::string(OpenRedisRegistry(options, &logger).status().message()), HasSubstr("/none: there is no"));
  // Redis has no password, and says so.
  options.password_file = folder.Write("password", "secret\n");
  const absl::Status refused = OpenRedisRegistry(options, &logger).status();
  EXPECT_TRUE(absl::IsUnavailable(refused)) << refused;
  EXPECT_THAT(std::string(refused.message()), testing::Not(HasSubstr("secret")));
}

TEST_F(RegistryTest, APasswordIsSent) {
  redis.Ask({"CONFIG", "SET", "requirepass", "secret"});
  const TempFolder folder;
  const RegistryOptions options{
      .url = redis.url(), .password_file = folder.Write("password", "secret\n"), .address = "a:1", .http_address = ""};
  const auto opened = OpenRedisRegistry(options, &logger);
  ASSERT_TRUE(opened.ok()) << opened.status();
  EXPECT_TRUE((*opened)->Take("videos/v", "tenant").ok());
}

}  // namespace
}  // namespace longtake::server
