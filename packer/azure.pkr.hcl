# Turns the finished image into an Azure managed image: uploads ringfence.vhd as
# a page blob, creates the image. Packer has no post-processor for that, so the
# steps call the az program, which has to be installed and logged in.
#
#   make image
#   packer build -var resource_group=my-group -var storage_account=myaccount \
#     packer/azure.pkr.hcl

variable "image" {
  type        = string
  default     = "out/ringfence.vhd"
  description = "The fixed VHD that make image wrote."
}

variable "name" {
  type        = string
  default     = "ringfence"
  description = "Name of the managed image and of the blob."
}

variable "resource_group" {
  type = string
}

variable "storage_account" {
  type        = string
  description = "Storage account for the upload, in the location of the resource group."
}

variable "container" {
  type    = string
  default = "images"
}

variable "generation" {
  type        = string
  default     = "V2"
  description = "V2 boots with UEFI, V1 with BIOS. The image does both."
}

source "null" "finished" {
  communicator = "none"
}

build {
  sources = ["source.null.finished"]

  post-processors {
    post-processor "artifice" {
      files = [var.image]
    }
    post-processor "shell-local" {
      environment_vars = [
        "IMAGE=${var.image}",
        "NAME=${var.name}",
        "GROUP=${var.resource_group}",
        "ACCOUNT=${var.storage_account}",
        "CONTAINER=${var.container}",
        "GENERATION=${var.generation}",
      ]
      inline = [
        "set -eu",
        "az storage blob upload --auth-mode login --account-name \"$ACCOUNT\" --container-name \"$CONTAINER\" --name \"$NAME.vhd\" --type page --file \"$IMAGE\"",
        "az image create --resource-group \"$GROUP\" --name \"$NAME\" --os-type Linux --hyper-v-generation \"$GENERATION\" --source \"https://$ACCOUNT.blob.core.windows.net/$CONTAINER/$NAME.vhd\"",
      ]
    }
  }
}
