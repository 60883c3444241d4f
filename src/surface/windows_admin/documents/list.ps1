# grantd: lists the local administrators of this host and our marks. The SSM agent runs this as SYSTEM.
#
# Parameters: Nonce; only by environment, so that no value is ever part of a script.
# Output: one line of JSON. Its result is done, domain-controller or failed (exit 10).

$ErrorActionPreference = 'Stop'
$ProgressPreference = 'SilentlyContinue'
$WarningPreference = 'SilentlyContinue'
Set-StrictMode -Version 3.0

# ---- The same in add, remove and list: a document cannot load another file. ----

$GroupSid = 'S-1-5-32-544'  # Administrators; its name is localised.
$MarksPath = 'SOFTWARE\grantd\LocalAdministrators'
$AccountSid = '\AS-1-5-21-[0-9]+-[0-9]+-[0-9]+-[0-9]+\z'
$mutex = $null
$locked = $false
$nonce = ''

function New-Answer([string]$Result, [string]$Detail = '') {
    [pscustomobject]@{ result = $Result; detail = $Detail }
}

# By [Console], because the formatter of PowerShell may wrap long lines.
function Write-Answer($Answer) {
    $detail = $Answer.detail.Trim() -creplace '[^\x20-\x7e]+', '?'
    if ($detail.Length -gt 400) { $detail = $detail.Substring(0, 400) }
    $line = [ordered]@{ grantd = 1; nonce = $nonce; result = $Answer.result; detail = $detail }
    foreach ($key in $extra.Keys) { $line[$key] = $extra[$key] }
    $json = ConvertTo-Json -InputObject $line -Compress -Depth 4
    # ConvertTo-Json of 5.1 leaves most of Unicode as it is; the console would make it '?'.
    $escape = [Text.RegularExpressions.MatchEvaluator] { param($found) '\u{0:x4}' -f [int][char]$found.Value }
    [Console]::Out.WriteLine([regex]::Replace($json, '[^\x20-\x7e]', $escape))
}

# Messages are localised; the type and the number are not.
function Get-Reason($ErrorRecord) {
    $cause = $ErrorRecord.Exception.GetBaseException()
    if ($cause.GetType() -eq [Management.Automation.RuntimeException]) { return $cause.Message }
    $line = $ErrorRecord.InvocationInfo.ScriptLineNumber
    'line {0}: {1} (0x{2:X8}): {3}' -f $line, $cause.GetType().Name, $cause.HResult, $cause.Message
}

# An agent that does not know ENV_VAR runs the script all the same, without the variables.
function Read-Parameter([string]$Name, [string]$Pattern) {
    $value = [Environment]::GetEnvironmentVariable("SSM_$Name")
    if ([string]::IsNullOrEmpty($value)) {
        throw "Parameter $Name did not arrive: update the SSM agent to 3.3.2746.0 or newer."
    }
    if ($value -cnotmatch $Pattern) { throw "Parameter $Name is malformed." }
    $value
}

# Its Administrators are the domain's.
function Test-DomainController {
    (Get-CimInstance -ClassName Win32_ComputerSystem -Property DomainRole).DomainRole -ge 4
}

# The agent runs documents side by side. False after 30 seconds, or if another made the mutex and shuts us out.
function Enter-Lock {
    try {
        $script:mutex = [Threading.Mutex]::new($false, 'Global\grantd')
        $script:locked = $script:mutex.WaitOne(30000)
    }
    catch [Threading.AbandonedMutexException] { $script:locked = $true }  # Its holder died: it is ours now.
    catch [UnauthorizedAccessException] { $script:locked = $false }
    $script:locked
}

# The end of the process would do as well; so no error of this counts.
function Exit-Lock {
    try { if ($script:locked) { $script:mutex.ReleaseMutex() } }
    catch { $script:locked = $false }
}

function Get-Group {
    $name = [Security.Principal.SecurityIdentifier]::new($GroupSid).Translate([Security.Principal.NTAccount]).Value
    [ADSI]"WinNT://./$($name.Split('\')[-1]),group"
}

# The SIDs of all members. Get-LocalGroupMember fails on a group that holds the SID of a deleted account.
# Who cannot be identified is an error, for then nobody's absence is proven.
function Get-MemberSids {
    foreach ($member in @((Get-Group).psbase.Invoke('Members'))) {
        $entry = [ADSI]$member
        try {
            [Security.Principal.SecurityIdentifier]::new([byte[]]$entry.psbase.InvokeGet('objectSid'), 0).Value
            continue
        }
        catch { $path = [string]$entry.psbase.Path }
        # WinNT://S-1-5-21-... of a deleted account, WinNT://CORP/jdoe, WinNT://CORP/HOST/Administrator.
        $parts = @($path.Substring('WinNT://'.Length).Split('/'))
        if ($parts[-1] -cmatch '\AS-1-[0-9]+(-[0-9]+)+\z') { $parts[-1]; continue }
        try {
            $account = [Security.Principal.NTAccount]::new($parts[-2], $parts[-1])
            $account.Translate([Security.Principal.SecurityIdentifier]).Value
        }
        catch { throw "The member $path of the group cannot be identified: $(Get-Reason $_)" }
    }
}

function Open-LocalMachine {
    [Microsoft.Win32.RegistryKey]::OpenBaseKey('LocalMachine', 'Registry64')
}

# Our marks: one key for each SID. A key without User was never finished, and is none.
function Get-Marks {
    $root = (Open-LocalMachine).OpenSubKey($MarksPath)
    if ($null -eq $root) { return }
    foreach ($sid in $root.GetSubKeyNames()) {
        $key = $root.OpenSubKey($sid)
        if ($null -eq $key -or $sid -cnotmatch $AccountSid) { continue }
        $user = [string]$key.GetValue('User', '')
        if ($user -eq '') { continue }
        $until = [string]$key.GetValue('Until', '')
        $grants = [string]$key.GetValue('Grants', '')
        [pscustomobject]@{ sid = $sid; user = $user; until = $until; grants = $grants }
    }
}

# ---- End of what is the same. ----

$extra = [ordered]@{ members = @(); marks = @() }

# $null for a deleted account, and for one whose domain does not answer.
function Get-AccountName([string]$Sid) {
    try {
        [Security.Principal.SecurityIdentifier]::new($Sid).Translate([Security.Principal.NTAccount]).Value
    }
    catch { $null }
}

function Invoke-Step {
    if (Test-DomainController) { return New-Answer 'domain-controller' 'A domain controller has no local groups.' }
    # Members and marks must be of one moment: else what we are just adding or removing looks like another's.
    if (-not (Enter-Lock)) { return New-Answer 'failed' 'Another holds the lock Global\grantd of this host.' }
    $sids = @(Get-MemberSids)
    # @( ) where the value is set: what a function returns as an array, 5.1 may write as an object.
    $extra.marks = @(Get-Marks)
    $extra.members = @(foreach ($sid in $sids) { [pscustomobject]@{ sid = $sid; name = Get-AccountName $sid } })
    New-Answer 'done'
}

try {
    $nonce = Read-Parameter 'Nonce' '\A[0-9a-f]{32}\z'
    $answer = Invoke-Step
}
catch { $answer = New-Answer 'failed' (Get-Reason $_) }
finally { Exit-Lock }
Write-Answer $answer
if ($answer.result -ceq 'failed') { exit 10 }
exit 0
