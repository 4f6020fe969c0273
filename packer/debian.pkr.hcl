# The Debian flavour: Debian's own cloud image, with its signed cloud kernel and
# its cloud-init, and our package. For those who want the cloud's agents, apt's
# security updates and a shell; everybody else takes the finished image.
#
#   make deb
#   packer build -only=amazon-ebs.debian -var deb=out/ringfence_1.0_amd64.deb packer/debian.pkr.hcl
#
# The others are azure-arm.debian (with -var resource_group=...),
# googlecompute.debian (with -var project=... -var account_file=...) and
# qemu.debian (with -var base=... -var seed=... -var key=...: Debian's
# genericcloud image, a NoCloud seed that lets the user "debian" in by that
# key, and the key). Credentials come from the environment, never from here.

variable "deb" {
  type        = string
  description = "The package that make deb wrote."
}

variable "name" {
  type    = string
  default = "ringfence-debian"
}

variable "region" {
  type    = string
  default = "eu-central-1"
}

variable "resource_group" {
  type    = string
  default = "ringfence"
}

variable "location" {
  type    = string
  default = "westeurope"
}

variable "subscription" {
  type        = string
  default     = ""
  description = "Azure subscription; the account that az is logged in with is used."
}

variable "project" {
  type    = string
  default = "ringfence"
}

variable "zone" {
  type    = string
  default = "europe-west3-a"
}

variable "account_file" {
  type        = string
  default     = ""
  description = "JSON key of a service account; empty takes the environment's."
}

variable "base" {
  type        = string
  default     = "debian-12-genericcloud-amd64.qcow2"
  description = "Debian's cloud image, for qemu."
}

variable "base_checksum" {
  type        = string
  default     = "none"
  description = "sha512:... from Debian's SHA512SUMS, for qemu."
}

variable "seed" {
  type        = string
  default     = "seed.iso"
  description = "NoCloud seed for the build, for qemu."
}

variable "key" {
  type        = string
  default     = ""
  description = "Private key that the seed lets in, for qemu."
}

variable "accelerator" {
  type    = string
  default = "kvm"
}

source "amazon-ebs" "debian" {
  region        = var.region
  instance_type = "t3.small"
  ssh_username  = "admin"
  source_ami_filter {
    filters = {
      name                = "debian-12-amd64-*"
      virtualization-type = "hvm"
      root-device-type    = "ebs"
    }
    owners      = ["136693071363"] # Debian
    most_recent = true
  }
  ami_name     = var.name
  encrypt_boot = true
  ena_support  = true
}

source "azure-arm" "debian" {
  use_azure_cli_auth                = true
  subscription_id                   = var.subscription
  image_publisher                   = "Debian"
  image_offer                       = "debian-12"
  image_sku                         = "12-gen2"
  os_type                           = "Linux"
  location                          = var.location
  vm_size                           = "Standard_B2s"
  managed_image_name                = var.name
  managed_image_resource_group_name = var.resource_group
}

source "googlecompute" "debian" {
  project_id          = var.project
  zone                = var.zone
  account_file        = var.account_file
  source_image_family = "debian-12"
  ssh_username        = "packer"
  image_name          = var.name
  image_family        = "ringfence-debian"
}

source "qemu" "debian" {
  iso_url              = var.base
  iso_checksum         = var.base_checksum
  disk_image           = true
  format               = "qcow2"
  accelerator          = var.accelerator
  headless             = true
  memory               = 1024
  net_device           = "virtio-net"
  disk_interface       = "virtio"
  output_directory     = "out/${var.name}"
  vm_name              = "${var.name}.qcow2"
  ssh_username         = "debian"
  ssh_private_key_file = var.key
  ssh_timeout          = "20m"
  shutdown_command     = "sudo systemctl poweroff"
  qemuargs             = [["-cdrom", var.seed]]
}

build {
  sources = ["source.amazon-ebs.debian", "source.azure-arm.debian", "source.googlecompute.debian", "source.qemu.debian"]

  provisioner "file" {
    source      = var.deb
    destination = "/tmp/ringfence.deb"
  }

  provisioner "shell" {
    execute_command = "chmod +x {{ .Path }}; sudo env DEBIAN_FRONTEND=noninteractive {{ .Vars }} sh -eu {{ .Path }}"
    inline = [
      "cloud-init status --wait || true",
      # Nothing of ours starts while the image is being made.
      "printf '#!/bin/sh\\nexit 101\\n' > /usr/sbin/policy-rc.d",
      "chmod 755 /usr/sbin/policy-rc.d",
      "apt-get update",
      # The kernel that Debian has signed for Secure Boot.
      "apt-get install -y --no-install-recommends linux-image-cloud-amd64 cloud-init dbus libpam-systemd",
      "apt-get install -y --no-install-recommends /tmp/ringfence.deb",
      # Nobody knows this machine yet: sshd is on its new port from the start.
      "install -d -m 700 /var/lib/ringfence/sysd",
      "/usr/lib/ringfence/sysd -ssh-settled -data /var/lib/ringfence/sysd",
      # What belongs to one machine goes: keys, ids, logs, the build's user-data.
      "rm -f /usr/sbin/policy-rc.d /tmp/ringfence.deb /etc/ssh/ssh_host_*",
      "apt-get clean",
      "cloud-init clean --logs",
      "truncate -s 0 /etc/machine-id",
      "sync",
    ]
  }
}
