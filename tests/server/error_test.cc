// Errors keep their details, and the service's reasons are those of the API.
#include "server/video/error.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "longtake/v1/errors.pb.h"

namespace longtake::server {
namespace {

TEST(Error, ReasonsAreThoseOfTheApi) {
  const google::protobuf::EnumDescriptor* api = v1::ErrorReason_descriptor();
  for (int i = 1; i < api->value_count(); ++i) {
    const google::protobuf::EnumValueDescriptor& value = *api->value(i);
    EXPECT_EQ(value.name(), std::string("ERROR_REASON_") + NameOf(static_cast<Reason>(value.number())));
  }
  EXPECT_EQ(api->value(api->value_count() - 1)->number(), static_cast<int>(Reason::kOtherServer));
}

TEST(Error, KeepsItsDetails) {
  const absl::Status status = MakeError(absl::StatusCode::kResourceExhausted, "no place",
                                        {.reason = Reason::kQueueFull,
                                         .retry_delay = absl::Milliseconds(1500),
                                         .fields = {{"spec.prompt", "\xff not UTF-8"}},
                                         .metadata = {{"queue_length", "3"}},
                                         .resource = "videos/1"});
  EXPECT_EQ(status.message(), "no place");
  const ErrorDetails details = DetailsOf(status);
  EXPECT_EQ(details.reason, Reason::kQueueFull);
  EXPECT_EQ(details.retry_delay, absl::Milliseconds(1500));
  ASSERT_EQ(details.fields.size(), 1u);
  EXPECT_EQ(details.fields[0].field, "spec.prompt");
  EXPECT_EQ(details.metadata.at("queue_length"), "3");
  EXPECT_EQ(details.resource, "videos/1");
}

TEST(Error, OthersAreTheDevices) {
  EXPECT_EQ(DetailsOf(absl::DataLossError("not a number")).reason, Reason::kDeviceFailed);
  EXPECT_FALSE(DetailsOf(absl::DataLossError("not a number")).retry_delay.has_value());
}

TEST(Error, AnInvalidRequestNamesItsFields) {
  const absl::Status status = InvalidRequest({{"spec.size", "odd"}, {"spec.seed", "below 0"}});
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(status.message(), "spec.size: odd; spec.seed: below 0");
  EXPECT_EQ(DetailsOf(status).fields.size(), 2u);
}

}  // namespace
}  // namespace longtake::server
