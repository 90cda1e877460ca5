; The setup for Windows: for this user only, without administrator rights. `/S` installs silently, `/D=` chooses a directory.
Target amd64-unicode
SetCompressor /SOLID lzma
Name "git-remote-bbtoken ${VERSION}"
OutFile "${OUTPUT}"
!define ENTRY "Software\Microsoft\Windows\CurrentVersion\Uninstall\git-remote-bbtoken"
InstallDir "$LOCALAPPDATA\Programs\git-remote-bbtoken"
; An upgrade goes where the version before is.
InstallDirRegKey HKCU "${ENTRY}" "InstallLocation"
RequestExecutionLevel user
ManifestDPIAware true
VIProductVersion "${NUMBERS}.0"
VIAddVersionKey ProductName "git-remote-bbtoken"
VIAddVersionKey ProductVersion "${VERSION}"
VIAddVersionKey FileVersion "${VERSION}"
VIAddVersionKey FileDescription "git remote helper for Bitbucket"
VIAddVersionKey LegalCopyright "MIT OR Apache-2.0"
!include LogicLib.nsh
!include WinMessages.nsh
!include StrFunc.nsh
${StrStr}
${UnStrStr}
${UnStrRep}

; $0 becomes the user's PATH, and $1 "no" if NSIS cannot read it: it reads a value that is too long as if there were none.
!macro READ_PATH
  StrCpy $1 ""
  ClearErrors
  ReadRegStr $0 HKCU "Environment" "Path"
  ${If} ${Errors}
    StrCpy $2 0
    ${Do}
      ClearErrors
      EnumRegValue $3 HKCU "Environment" $2
      ${If} ${Errors}
        ${ExitDo}
      ${EndIf}
      ${If} $3 == "Path"
        StrCpy $1 "no"
      ${EndIf}
      IntOp $2 $2 + 1
    ${Loop}
  ${EndIf}
!macroend

Page directory
Page instfiles
UninstPage uninstConfirm
UninstPage instfiles

Section
  ; The version before may have brought files that this one lacks, and may be in another directory. In the same one, PATH
  ; stays as the user has it.
  ReadRegStr $4 HKCU "${ENTRY}" "InstallLocation"
  ${If} $4 != ""
  ${AndIf} ${FileExists} "$4\uninstall.exe"
    StrCpy $5 ""
    ${If} $4 == $INSTDIR
      StrCpy $5 "/UPGRADE"
    ${EndIf}
    ExecWait '"$4\uninstall.exe" /S $5 _?=$4'
    ; With this option, the uninstaller runs where it is, and cannot remove itself.
    Delete "$4\uninstall.exe"
    RMDir "$4"
  ${EndIf}

  SetOutPath "$INSTDIR"
  File /r "${STAGE}\*"
  WriteUninstaller "$INSTDIR\uninstall.exe"
  WriteRegStr HKCU "${ENTRY}" "DisplayName" "git-remote-bbtoken"
  WriteRegStr HKCU "${ENTRY}" "DisplayVersion" "${VERSION}"
  WriteRegStr HKCU "${ENTRY}" "URLInfoAbout" "${HOMEPAGE}"
  WriteRegStr HKCU "${ENTRY}" "InstallLocation" "$INSTDIR"
  WriteRegStr HKCU "${ENTRY}" "UninstallString" '"$INSTDIR\uninstall.exe"'
  WriteRegStr HKCU "${ENTRY}" "QuietUninstallString" '"$INSTDIR\uninstall.exe" /S'

  !insertmacro READ_PATH
  ${StrStr} $2 ";$0;" ";$INSTDIR;"
  ${If} $2 == ""
    ; A text that becomes too long is cut.
    StrLen $2 "$0;$INSTDIR"
    IntOp $3 ${NSIS_MAX_STRLEN} - 32
    ${If} $1 == "no"
    ${OrIf} $2 > $3
      MessageBox MB_OK "This setup cannot change your PATH. Add this directory to it: $INSTDIR" /SD IDOK
    ${Else}
      ${If} $0 != ""
        StrCpy $0 "$0;"
      ${EndIf}
      WriteRegExpandStr HKCU "Environment" "Path" "$0$INSTDIR"
      SendMessage ${HWND_BROADCAST} ${WM_SETTINGCHANGE} 0 "STR:Environment" /TIMEOUT=5000
    ${EndIf}
  ${EndIf}
SectionEnd

Section Uninstall
  ; Only what the setup brought, file by file: the user may have chosen a directory with other files.
  !include "${STAGE}.nsh"
  Delete "$INSTDIR\uninstall.exe"
  RMDir "$INSTDIR"
  DeleteRegKey HKCU "${ENTRY}"
  ${UnStrStr} $2 $CMDLINE " /UPGRADE"
  ${If} $2 != ""
    Return
  ${EndIf}
  !insertmacro READ_PATH
  StrLen $2 $0
  IntOp $3 ${NSIS_MAX_STRLEN} - 4
  ${If} $1 == "no"
  ${OrIf} $2 > $3
    Return
  ${EndIf}
  StrCpy $2 ";$0;"
  ${Do}
    StrCpy $3 $2
    ${UnStrRep} $2 $3 ";$INSTDIR;" ";"
  ${LoopUntil} $2 == $3
  ${If} $2 != ";$0;"
    ; Without the two ends that were added.
    StrCpy $2 $2 -1 1
    ${If} $2 == ""
      DeleteRegValue HKCU "Environment" "Path"
    ${Else}
      WriteRegExpandStr HKCU "Environment" "Path" "$2"
    ${EndIf}
    SendMessage ${HWND_BROADCAST} ${WM_SETTINGCHANGE} 0 "STR:Environment" /TIMEOUT=5000
  ${EndIf}
SectionEnd
