// grpc.reflection.v1alpha: what the API looks like, for tools such as grpcurl. gRPC's own service would answer
// everybody.
#ifndef LONGTAKE_SERVER_GRPC_REFLECTION_SERVICE_H_
#define LONGTAKE_SERVER_GRPC_REFLECTION_SERVICE_H_

#include <grpcpp/grpcpp.h>

#include "grpc/reflection/v1alpha/reflection.grpc.pb.h"
#include "server/grpc/door.h"

namespace longtake::server {

class ReflectionService : public grpc::reflection::v1alpha::ServerReflection::CallbackService {
 public:
  // `door` outlives it.
  explicit ReflectionService(const Door* door) : door_(door) {}

  grpc::ServerBidiReactor<grpc::reflection::v1alpha::ServerReflectionRequest,
                          grpc::reflection::v1alpha::ServerReflectionResponse>*
  ServerReflectionInfo(grpc::CallbackServerContext* context) override;

 private:
  const Door* const door_;
};

}  // namespace longtake::server

#endif  // LONGTAKE_SERVER_GRPC_REFLECTION_SERVICE_H_
